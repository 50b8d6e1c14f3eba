"""Failures that nobody has put right, in groups of what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Left
from django.utils.text import Truncator

from ..engine.run_filters import failed_step
from ..models import Run, RunQuerySet

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
# The step a run failed at is looked up run by run: so many of the newest failures are counted,
MOST_COUNTED = 10_000
# and so many groups of them told apart.
MOST_GROUPS = 1000
# Runs that are read for the latest errors: where more ended in one moment, some groups show none.
MOST_READ = 1000
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Runs of one workflow that failed in the last week with one class of error at one step.

    ``message`` is what the latest of them said, cut; it may quote values of the run.
    """

    error_type: str
    workflow: str
    step: str
    in_hour: int
    in_day: int
    in_week: int
    first: datetime
    latest: datetime
    message: str = ""

    @property
    def is_named(self) -> bool:
        """Whether each of its parts has a name."""
        return bool(self.error_type and self.workflow and self.step)

    @property
    def error_class(self) -> str:
        """The bare name of the class."""
        return self.error_type.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What failed in the last week, in groups.

    ``counted_since`` is set where older ones are not counted, because there are so many.
    """

    groups: Sequence[FailureGroup]
    counted_since: datetime | None = None


def find_failures(now: datetime, *, within: timedelta = WEEK) -> Failures:
    """Return the groups with a failure ``within`` so long, a week at most; the newest first. Two queries."""
    failed = Run.objects.unresolved().filter(finished_at__gte=now - WEEK)
    newest = failed.order_by("-finished_at").values_list("finished_at", flat=True)
    since = next(iter(newest[MOST_COUNTED : MOST_COUNTED + 1]), None)
    if since is not None:
        failed = failed.filter(finished_at__gt=since)
    return Failures(groups=_count(failed, now, within), counted_since=since)


def _count(failed: RunQuerySet, now: datetime, within: timedelta) -> list[FailureGroup]:
    groups = (
        _with_step(failed)
        .values("error_type", "workflow__name", "stop")
        .annotate(
            in_hour=Count("pk", filter=Q(finished_at__gte=now - HOUR)),
            in_day=Count("pk", filter=Q(finished_at__gte=now - DAY)),
            in_week=Count("pk"),
            first=Min("finished_at"),
            latest=Max("finished_at"),
        )
        .filter(latest__gte=now - within)
        .order_by("-latest", "error_type", "workflow__name", "stop")
    )
    return [_read(**group) for group in groups[:MOST_GROUPS]]


def add_messages(groups: Sequence[FailureGroup]) -> list[FailureGroup]:
    """Return the groups with what the latest error of each said. One query."""
    if not groups:
        return []
    latest = Run.objects.unresolved().filter(finished_at__in={group.latest for group in groups})
    rows = _with_step(latest).annotate(said=Left("error", 2 * MOST_CHARACTERS))
    columns = ("error_type", "workflow__name", "stop", "finished_at", "said")
    said = {tuple(key): text for *key, text in rows.values_list(*columns)[:MOST_READ]}
    return [replace(group, message=_line(said.get(_key(group), ""))) for group in groups]


def _with_step(runs: RunQuerySet) -> Any:
    return runs.order_by().annotate(stop=failed_step(runs.db))


def _read(*, workflow__name: str, stop: str, **values: Any) -> FailureGroup:
    return FailureGroup(workflow=workflow__name, step=stop, **values)


def _key(group: FailureGroup) -> tuple[object, ...]:
    return (group.error_type, group.workflow, group.step, group.latest)


def _line(text: str) -> str:
    return Truncator(" ".join(text.split())).chars(MOST_CHARACTERS)
