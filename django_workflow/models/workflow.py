"""Definitions: the draft that people edit, and the versions that runs execute."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .keys import uuid7
from .row import Row
from .users import UserKey, forget


class ManagedBy(models.TextChoices):
    """Who may write a workflow."""

    STAFF = "staff", _("staff, in the admin")
    CODE = "code", _("code, by define()")
    FILE = "file", _("a file of an app")


class Workflow(Row):
    """A named definition.

    Its Step rows are the editable draft; ``published`` is the version that new runs execute.
    """

    name = models.SlugField(_("name"), max_length=100, unique=True)
    description = models.TextField(_("description"), blank=True)
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("Off: a trigger makes a cancelled run.")
    )
    managed_by = models.CharField(
        _("managed by"), max_length=10, choices=ManagedBy.choices, default=ManagedBy.STAFF, editable=False
    )
    source = models.CharField(_("source"), max_length=255, blank=True, editable=False)
    digest = models.CharField(_("digest of the source"), max_length=64, blank=True, editable=False)
    input = models.JSONField(_("input"), null=True, blank=True, help_text=_("Declared input: name to type."))
    queue = models.CharField(_("queue"), max_length=100, blank=True)
    timeout = models.CharField(
        _("timeout"), max_length=32, blank=True, help_text=_("Of the whole run, such as 2h.")
    )
    on_failure = models.JSONField(_("on failure"), null=True, blank=True)
    max_visits = models.PositiveIntegerField(_("maximum visits"), null=True, blank=True)
    published = models.ForeignKey(
        "WorkflowVersion",
        models.SET_NULL,
        verbose_name=_("published version"),
        null=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        ordering = ("name",)
        permissions = (
            ("publish_workflow", _("Can publish workflow")),
            ("trigger_workflow", _("Can trigger workflow")),
        )
        constraints = (
            models.CheckConstraint(
                name="workflow_known_owner", condition=models.Q(managed_by__in=ManagedBy.values)
            ),
        )

    def __str__(self) -> str:
        return self.name

    def as_definition(self) -> dict[str, Any]:
        """Return the draft as definition data, which ``read_definition`` reads."""
        fields = {"description": self.description, "queue": self.queue, "timeout": self.timeout}
        own: dict[str, Any] = {key: value for key, value in fields.items() if value}
        optional = {"input": self.input, "on_failure": self.on_failure, "max_visits": self.max_visits}
        own |= {key: value for key, value in optional.items() if value is not None}
        return {"name": self.name, **own, "steps": [step.as_definition() for step in self.steps.all()]}


class Step(Row):
    """One node of a workflow's draft. Columns left blank take the default of the definition language."""

    workflow = models.ForeignKey(
        Workflow, models.CASCADE, related_name="steps", db_index=False, verbose_name=_("workflow")
    )
    position = models.PositiveIntegerField(_("position"), default=0)
    name = models.CharField(_("name"), max_length=64, help_text=_("Made from the type when left out."))
    type = models.CharField(_("type"), max_length=150)
    params = models.JSONField(_("params"), default=dict, blank=True)
    condition = models.TextField(_("condition"), blank=True)
    needs = models.JSONField(_("needs"), null=True, blank=True, help_text=_("A list of names, or “jump”."))
    join = models.CharField(
        _("join"), max_length=3, choices=(("all", _("all")), ("any", _("any"))), default="all"
    )
    for_each = models.TextField(_("for each"), blank=True)
    max_parallel = models.PositiveIntegerField(_("maximum parallel"), null=True, blank=True)
    retry = models.JSONField(_("retry"), null=True, blank=True)
    timeout = models.CharField(
        _("timeout"), max_length=32, blank=True, help_text=_("Such as 30s; none for no limit.")
    )
    on_error = models.JSONField(_("on error"), default=None, null=True, blank=True)
    undo = models.JSONField(_("undo"), null=True, blank=True)
    next = models.CharField(_("next"), max_length=64, blank=True)
    delay = models.CharField(_("delay"), max_length=32, blank=True)
    queue = models.CharField(_("queue"), max_length=100, blank=True)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering = ("position", "pk")
        constraints = (
            models.UniqueConstraint(fields=("workflow", "name"), name="workflow_step_name_unique"),
        )

    def __str__(self) -> str:
        return self.name or self.type

    def as_definition(self) -> dict[str, Any]:
        """Return the row as one step of a definition."""
        texts = {key: getattr(self, key) for key in ("for_each", "timeout", "next", "delay", "queue")}
        texts["if"] = self.condition
        values = {key: getattr(self, key) for key in ("needs", "max_parallel", "retry", "on_error", "undo")}
        given = {key: value for key, value in texts.items() if value}
        given |= {key: value for key, value in values.items() if value is not None}
        if self.params:
            given["with"] = self.params
        if self.join != "all":
            given["join"] = self.join
        return {"name": self.name, "type": self.type, **given}


class WorkflowVersion(Row):
    """An immutable, numbered snapshot of a workflow, made by publishing.

    ``spec`` is definition data of format 1.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(
        Workflow, models.CASCADE, related_name="versions", db_index=False, verbose_name=_("workflow")
    )
    number = models.PositiveIntegerField(_("number"))
    spec = models.JSONField(_("definition"))
    warnings = models.JSONField(_("warnings"), default=list, blank=True)
    published_by = UserKey(
        settings.AUTH_USER_MODEL,
        forget,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("published by"),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("workflow version")
        verbose_name_plural = _("workflow versions")
        ordering = ("-number",)
        get_latest_by = "number"
        constraints = (
            models.UniqueConstraint(fields=("workflow", "number"), name="workflow_version_number_unique"),
        )

    def __str__(self) -> str:
        return _("version %(number)s") % {"number": self.number}
