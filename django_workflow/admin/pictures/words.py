"""Statuses in words, as pictures tell them to who does not see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from ...status import RunStatus, StepStatus

LABELS = {**dict(RunStatus.choices), **dict(StepStatus.choices)}
# As they are counted: well, badly, still to come.
ORDER = ("done", "failed", "running", "waiting", "paused", "pending", "skipped", "cancelled")


def name_status(status: str) -> str:
    """Return the word of a status of a run or a step; an empty one is that of a step that has not begun."""
    return str(LABELS.get(status, status)) if status else _("not begun")


def count_statuses(statuses: Iterable[str]) -> str:
    """Return how many there are of each: ``18 done, 2 failed``."""
    counts = Counter(statuses)
    known: Sequence[str] = [
        *(status for status in ORDER if status in counts),
        *sorted(counts.keys() - {*ORDER}),
    ]
    return ", ".join(f"{counts[status]} {name_status(status)}" for status in known)


def write_moment(moment: datetime, *, beside: datetime | None = None) -> str:
    """Return a moment to the second, in the current time zone; on the day of ``beside`` only the time."""
    local = localtime(moment)
    clock = f"{local:%H:%M:%S}"
    if beside is not None and localtime(beside).date() == local.date():
        return clock
    day = date_format(local, "SHORT_DATE_FORMAT")
    return pgettext("a moment", "%(day)s %(time)s") % {"day": day, "time": clock}
