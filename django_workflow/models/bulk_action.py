"""Bulk actions: one verb for many runs, done batch by batch, and gone on with where a crash left it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .keys import uuid7
from .row import Row, RowQuerySet
from .users import UserKey, forget


class BulkActionQuerySet(RowQuerySet["BulkAction"]):
    """Named sets of bulk actions."""

    def unfinished(self) -> BulkActionQuerySet:
        """The bulk actions that have runs left to do."""
        return self.filter(finished_at__isnull=True)


class BulkAction(Row):
    """A verb for all runs that ``filters`` name, in the order of their ids.

    ``last`` is the latest run it came to, ``until`` the newest when it began: later runs are none of its.
    ``due_at`` is when its next batch may be done by anybody. ``done`` and ``refused`` count runs.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    verb = models.CharField(_("verb"), max_length=20)
    filters = models.JSONField(_("filters"), default=dict)
    arguments = models.JSONField(_("arguments"), default=dict, blank=True)
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
    total = models.PositiveIntegerField(_("total"), default=0)
    done = models.PositiveIntegerField(_("done"), default=0)
    refused = models.PositiveIntegerField(_("refused"), default=0)
    # The reasons of the first refusals, by run.
    refusals = models.JSONField(_("refusals"), default=dict, blank=True)
    last = models.UUIDField(null=True, editable=False)
    until = models.UUIDField(null=True, editable=False)
    due_at = models.DateTimeField(_("due at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = BulkActionQuerySet.as_manager()  # type: ignore[misc]  # instead of that of Row

    class Meta:
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")
        ordering = ("-id",)
        indexes = (
            models.Index(
                fields=("due_at",), name="workflow_bulk_action_due", condition=Q(finished_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.verb}: {self.done + self.refused} of {self.total}"
