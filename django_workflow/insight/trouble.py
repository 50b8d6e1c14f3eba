"""Whether something is wrong that everybody who looks at a page should know of: told from rows."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Min, Q
from django.utils.translation import gettext as _

from ..dispatch import is_redis_silent
from ..engine.health import LATE
from ..models import Clock, StepRun, StepRunQuerySet
from ..status import RunStatus, StepStatus
from .spans import show_time

# Of those that are late: the oldest of so many is old enough, and every page asks.
LOOKED_AT = 1000


def find_trouble(now: datetime) -> str:
    """Return what is wrong in a sentence or two, or an empty text where all is well; Redis is not asked.

    One query, and one more where something is late.
    """
    if is_redis_silent():
        return _(
            "Redis does not answer: workers are not told of what is ready. Nothing is lost; it goes on later."
        )
    since = _late(now)[:LOOKED_AT].aggregate(since=Min("due_at"))["since"]
    if since is None:
        return ""
    text = _("Steps have been due since %s, and nobody has come for them.") % show_time(since)
    if not Clock.objects.alive(now).exists():
        text += " " + _("No clock ticks: start manage.py workflow_clock.")
    return text


def _late(now: datetime) -> StepRunQuerySet:
    """The step runs that should have been looked at; a paused run starts none, but its leases expire."""
    is_held = ~Q(status=StepStatus.RUNNING) & Q(run__status=RunStatus.PAUSED)
    return StepRun.objects.due(now - LATE).exclude(is_held)
