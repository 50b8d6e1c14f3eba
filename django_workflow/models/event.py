"""Events: named messages sent to runs, kept until a step takes them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .keys import uuid7
from .row import Row, RowQuerySet
from .run import Run
from .step_run import StepRun
from .workflow import Workflow


class EventQuerySet(RowQuerySet["Event"]):
    """Named sets of events."""

    def untaken(self) -> EventQuerySet:
        """The events that no step has taken."""
        return self.filter(taken_by__isnull=True)


class Event(Row):
    """A named message to a run; or, while there is none yet, to the one that will have that workflow and key.

    ``event_id`` is the sender's: the same counts once. ``is_new`` until somebody has looked whether a step
    waits for it, after its commit.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(
        Run, models.CASCADE, null=True, related_name="events", db_index=False, verbose_name=_("run")
    )
    workflow = models.ForeignKey(
        Workflow, models.CASCADE, null=True, related_name="+", db_index=False, verbose_name=_("workflow")
    )
    key = models.CharField(_("key"), max_length=255, null=True, blank=True)
    name = models.CharField(_("name"), max_length=255)
    event_id = models.CharField(_("id of the sender"), max_length=255, null=True, blank=True)
    payload = models.JSONField(_("payload"), null=True, blank=True)
    at = models.DateTimeField(_("at"))
    is_new = models.BooleanField(_("is new"), default=True)
    taken_by = models.ForeignKey(
        StepRun,
        models.SET_NULL,
        null=True,
        related_name="events_taken",
        db_index=False,
        verbose_name=_("taken by"),
    )

    objects = EventQuerySet.as_manager()  # type: ignore[misc]  # instead of that of Row

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                name="workflow_event_is_addressed",
                condition=Q(run__isnull=False, workflow__isnull=True, key__isnull=True)
                | Q(run__isnull=True, workflow__isnull=False, key__isnull=False),
            ),
            models.UniqueConstraint(fields=("run", "event_id"), name="workflow_event_id_unique"),
            models.UniqueConstraint(
                fields=("workflow", "key", "event_id"), name="workflow_event_id_unique_by_key"
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="workflow_event_new", condition=Q(is_new=True)),
            models.Index(
                fields=("taken_by",), name="workflow_event_taken", condition=Q(taken_by__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return self.name
