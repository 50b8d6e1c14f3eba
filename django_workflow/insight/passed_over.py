"""Steps that failed while their runs went on: a run that is done may have left undone what it was for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, F, Max, Min, Q

from ..models import Run, StepRun
from ..status import RunStatus
from .failures import DAY, HOUR, MOST_COUNTED, MOST_GROUPS, WEEK, FailureGroup


def read_failed_steps(runs: Collection[Run]) -> Mapping[UUID, Sequence[str]]:
    """Return the names of the steps that failed while each run went on. One query."""
    if not runs:
        return {}
    using = next(iter(runs))._state.db
    rows = StepRun.objects.using(using).passed_over().filter(run__in=[run.pk for run in runs])
    found: dict[UUID, list[str]] = defaultdict(list)
    for run, step in rows.order_by("step").values_list("run_id", "step").distinct():
        found[run].append(step)
    return found


def find_passed_over(now: datetime, *, within: timedelta = WEEK) -> list[FailureGroup]:
    """Return such failures of runs that are done, in groups with one ``within`` so long; the newest first.

    Runs are counted, not items; of very many failures, only the newest. Two queries.
    """
    failed = StepRun.objects.passed_over().filter(finished_at__gte=now - WEEK)
    newest = failed.order_by("-finished_at").values_list("finished_at", flat=True)
    since = next(iter(newest[MOST_COUNTED : MOST_COUNTED + 1]), None)
    if since is not None:
        failed = failed.filter(finished_at__gt=since)
    groups = (
        failed.filter(run__status=RunStatus.DONE)
        .order_by()
        .values("error_type", "step", workflow=F("run__workflow__name"))
        .annotate(
            in_hour=Count("run", distinct=True, filter=Q(finished_at__gte=now - HOUR)),
            in_day=Count("run", distinct=True, filter=Q(finished_at__gte=now - DAY)),
            in_week=Count("run", distinct=True),
            first=Min("finished_at"),
            latest=Max("finished_at"),
        )
        .filter(latest__gte=now - within)
        .order_by("-latest", "error_type", "workflow", "step")
    )
    return [FailureGroup(**group) for group in groups[:MOST_GROUPS]]
