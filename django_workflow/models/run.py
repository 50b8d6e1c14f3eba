"""Runs: one execution of one version each, and what operators did to them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import models, router
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from ..codec import decode, load
from ..references import alias_of, key_of, read_key, why_not_referable
from ..status import FINAL_RUN, RunStatus
from ..storable import is_storable_text
from .bulk_action import BulkAction
from .keys import uuid7
from .row import Row, RowQuerySet
from .users import UserKey, forget
from .workflow import Workflow, WorkflowVersion


class Source(models.TextChoices):
    """What started a run."""

    CODE = "code", _("code")
    ADMIN = "admin", _("admin")
    COMMAND = "command", _("command")
    RULE = "rule", _("rule")
    CALL = "call", _("another workflow")


# What is not final, as a constraint has it. For a list of statuses SQLite uses no partial index: they are
# parameters of the query.
ACTIVE = Q(finished_at__isnull=True)


LONGEST_SUBJECT_TYPE = 150
LONGEST_SUBJECT_ID = 255

# Ids begin with their time: fewer digits would find the runs of hours.
FEWEST_DIGITS = 8


def _ids_from(text: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begin with ``text``; None where it is too short for one, or
    none."""
    digits = text.replace("-", "")
    if not FEWEST_DIGITS <= len(digits) <= 32:
        return None
    try:
        return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    except ValueError:
        return None


class RunQuerySet(RowQuerySet["Run"]):
    """Named sets of runs."""

    def active(self) -> RunQuerySet:
        """The runs that are not final."""
        return self.filter(finished_at__isnull=True)

    def about(self, subject: models.Model) -> RunQuerySet:
        """The runs that were triggered about ``subject``."""
        return self.filter(subject_type=subject._meta.label_lower, subject_id=str(key_of(subject)))

    def unresolved(self) -> RunQuerySet:
        """The failed runs that nobody has put right.

        A restart stands for its run, under way as when it failed, unless it was cancelled; so that a retry of
        all that is unresolved does nothing twice.
        """
        restarts = Run.objects.using(self.db).filter(restarted_from=OuterRef("pk"))
        return self.filter(~Exists(restarts.exclude(status=RunStatus.CANCELLED)), status=RunStatus.FAILED)

    def search(self, text: str) -> RunQuerySet:
        """The runs whose id or key begins with ``text``, and those about a row with that key.

        Each is read from an index of its own.
        """
        if not is_storable_text(text):
            return self.none()
        found = Q(key__startswith=text) | (~Q(subject_type="") & Q(subject_id=text))
        ids = _ids_from(text)
        return self.filter(found if ids is None else found | Q(pk__range=ids))


class Run(Row):
    """One execution of one version of a workflow.

    ``revision`` goes up by one with every recording; it is the gate that every change of the run passes.
    ``ending`` is the final status the run is heading for while something of it still runs.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(
        Workflow, models.PROTECT, related_name="runs", db_index=False, verbose_name=_("workflow")
    )
    version = models.ForeignKey(
        WorkflowVersion, models.PROTECT, null=True, related_name="runs", verbose_name=_("version")
    )
    status = models.CharField(
        _("status"), max_length=10, choices=RunStatus.choices, default=RunStatus.PENDING
    )
    ending = models.CharField(_("ending"), max_length=10, choices=RunStatus.choices, blank=True)
    revision = models.PositiveBigIntegerField(_("revision"), default=0)
    state = models.JSONField(_("state"), default=dict, blank=True)
    input = models.JSONField(_("input"), default=dict, blank=True)
    output = models.JSONField(_("output"), null=True, blank=True)
    key = models.CharField(_("key"), max_length=255, null=True, blank=True)
    step = models.CharField(_("step"), max_length=70, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_type = models.CharField(_("error type"), max_length=255, blank=True)
    # What plan has to know of earlier jumps: the number each target was entered at, visits, the error behind
    # the last one.
    jumps = models.JSONField(null=True, blank=True, editable=False)
    parent = models.ForeignKey(
        "StepRun",
        models.SET_NULL,
        null=True,
        related_name="children",
        db_index=False,
        verbose_name=_("called by"),
    )
    # How many calls stand above this run.
    depth = models.PositiveSmallIntegerField(default=0, editable=False)
    restarted_from = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        related_name="restarts",
        db_index=False,
        verbose_name=_("restarted from"),
    )
    subject_type = models.CharField(_("subject type"), max_length=LONGEST_SUBJECT_TYPE, blank=True)
    subject_id = models.CharField(_("subject id"), max_length=LONGEST_SUBJECT_ID, blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.CODE)
    triggered_by = UserKey(
        settings.AUTH_USER_MODEL,
        forget,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("triggered by"),
    )
    deadline = models.DateTimeField(_("deadline"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    # False on the run that trigger() returns where its key found an earlier one.
    was_created = True

    objects = RunQuerySet.as_manager()  # type: ignore[misc]  # instead of that of Row

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ("-id",)
        permissions = (
            ("control_run", _("Can cancel, pause, resume, retry and restart runs")),
            ("override_run", _("Can skip steps and undo runs")),
            ("view_run_payload", _("Can view the input, state and outputs of runs")),
        )
        constraints = (
            models.CheckConstraint(
                name="workflow_run_known_status", condition=Q(status__in=RunStatus.values)
            ),
            models.CheckConstraint(
                name="workflow_run_finished_when_final",
                condition=Q(status__in=FINAL_RUN, finished_at__isnull=False)
                | (~Q(status__in=FINAL_RUN) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="workflow_run_known_ending", condition=Q(ending="") | Q(ending__in=FINAL_RUN)
            ),
            models.UniqueConstraint(fields=("workflow", "key"), name="workflow_run_key_unique"),
        )
        indexes = (
            models.Index(fields=("id",), name="workflow_run_active", condition=ACTIVE),
            models.Index(fields=("parent",), name="workflow_run_children", condition=Q(parent__isnull=False)),
            models.Index(
                fields=("parent",),
                name="workflow_run_called",
                condition=ACTIVE & Q(parent__isnull=False),
            ),
            models.Index(
                fields=("deadline",),
                name="workflow_run_overdue",
                condition=ACTIVE & Q(deadline__isnull=False),
            ),
            models.Index(
                fields=("subject_id", "subject_type"),
                name="workflow_run_about",
                condition=~Q(subject_type=""),
            ),
            # Of those that have one: SQLite takes a whole index of nothing but NULL for useless.
            models.Index(
                fields=("restarted_from",),
                name="workflow_run_restarts",
                condition=Q(restarted_from__isnull=False),
            ),
            # The filters of lists and commands: by error class, by age, a workflow's latest runs, what failed
            # lately, the beginning of a key. None names a column that a recording of a step changes, such as
            # the run's step: PostgreSQL would have to write to every index then.
            models.Index(
                fields=("error_type", "id"), name="workflow_run_errors", condition=~Q(error_type="")
            ),
            models.Index(fields=("created_at",), name="workflow_run_created"),
            models.Index(fields=("workflow", "-id"), name="workflow_run_latest"),
            models.Index(fields=("status", "finished_at"), name="workflow_run_ended"),
            models.Index(
                fields=("key",),
                name="workflow_run_keys",
                opclasses=("varchar_pattern_ops",),
                condition=Q(key__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.workflow.name} {self.id}"

    @property
    def is_final(self) -> bool:
        """Whether the run is over: done, failed or cancelled."""
        return self.status in FINAL_RUN

    @property
    def subject(self) -> models.Model | None:
        """The row the run is about, read by its base manager; None without one, or when it is gone.

        Its model may be gone too, or have keys of another type by now.
        """
        if not self.subject_type:
            return None
        try:
            model: type[models.Model] = apps.get_model(self.subject_type)
            using = alias_of(self.subject_type, self._state.db or router.db_for_write(Run))
            rows = model._base_manager.using(using)
            return rows.filter(pk=read_key(model, self.subject_id)).first()
        except (LookupError, ValueError):
            return None

    def output_of(self, step: str) -> Any:
        """Return the latest output of the step named ``step``, with model references as instances.

        None without one.
        """
        latest = self.step_runs.latest_for(step)
        return None if latest is None else load(decode(latest.output, using=self._state.db or "default"))


def why_no_subject(row: models.Model) -> str:
    """Return why no run can be about ``row``; an empty text when one can."""
    reason = why_not_referable(row)
    if reason:
        return reason
    label, key = row._meta.label_lower, str(key_of(row))
    if len(label) > LONGEST_SUBJECT_TYPE:
        return f"{label} has a name of more than {LONGEST_SUBJECT_TYPE} characters: give it as input only"
    if len(key) > LONGEST_SUBJECT_ID or not is_storable_text(key):
        return (
            f"the key of this {row._meta.label} has {len(key)} characters, and that of a subject may have "
            f"{LONGEST_SUBJECT_ID}, without NUL or lone surrogates: give the row as input only"
        )
    return ""


# The verbs that change what an approval in their run approves: its input, an output, an event.
CHANGING = ("restart", "skip", "event")


class RunAction(Row):
    """What an operator did to a run: who, what, when and why."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="actions", verbose_name=_("run"))
    verb = models.CharField(_("verb"), max_length=20)
    step = models.CharField(_("step"), max_length=70, blank=True)
    bulk = models.ForeignKey(
        BulkAction,
        models.SET_NULL,
        null=True,
        related_name="actions",
        db_index=False,
        verbose_name=_("bulk action"),
    )
    by = UserKey(
        settings.AUTH_USER_MODEL,
        forget,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("by"),
    )
    note = models.TextField(_("note"), blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("action")
        verbose_name_plural = _("actions")
        ordering = ("pk",)
        constraints = (
            # A batch that a crash made begin again comes to each run once.
            models.UniqueConstraint(fields=("bulk", "run"), name="workflow_run_action_once_a_bulk"),
        )

    def __str__(self) -> str:
        return self.verb
