"""Clocks: the processes that keep what waits going, each a row while it lives."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from .row import Row, RowQuerySet


class ClockQuerySet(RowQuerySet["Clock"]):
    """Named sets of clocks."""

    def alive(self, now: datetime) -> ClockQuerySet:
        """The clocks that have ticked in the last half minute: three times as long as one may say nothing."""
        return self.filter(ticked_at__gte=now - timedelta(seconds=30))


class Clock(Row):
    """A process that ticks. ``name`` is its host, a random part, and process."""

    name = models.CharField(_("name"), max_length=255, unique=True)
    started_at = models.DateTimeField(_("started at"))
    ticked_at = models.DateTimeField(_("ticked at"))

    objects = ClockQuerySet.as_manager()  # type: ignore[misc]  # instead of that of Row

    class Meta:
        verbose_name = _("clock")
        verbose_name_plural = _("clocks")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
