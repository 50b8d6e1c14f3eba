"""What an ending, a jump or a cancel does to the other step runs of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from ..definition.graph import Graph
from ..models import HAS_OUTPUT, StepRun, StepRunQuerySet
from ..status import StepStatus
from .events import put_back

NOT_STARTED = (StepStatus.PENDING, StepStatus.WAITING)
NOBODY = Q(pk__in=())


def cancel_waiting(using: str, run_id: UUID, now: datetime) -> None:
    """Cancel all of the run that is ready or waits. What runs keeps its lease, and is told."""
    rows = StepRun.objects.using(using).filter(run_id=run_id, status__in=NOT_STARTED)
    rows.update(**_closed(StepStatus.CANCELLED, now))


def cancel_items(using: str, run_id: UUID, item: StepRun, now: datetime) -> None:
    """Cancel the items beside ``item`` that have not begun or wait, because it failed for all of them."""
    rows = _current(using, run_id, [item.step]).filter(visit=item.visit, index__gte=0, status__in=NOT_STARTED)
    rows.update(**_closed(StepStatus.CANCELLED, now))


def skip_steps(using: str, run_id: UUID, names: Collection[str], now: datetime) -> None:
    """Mark the current rows of ``names`` as skipped where they have not started."""
    if names:
        rows = _current(using, run_id, names).filter(not_begun())
        # MySQL does not let an update look into its own table.
        found = list(rows.values_list("pk", flat=True))
        StepRun.objects.using(using).filter(pk__in=found).update(**_closed(StepStatus.SKIPPED, now))


def not_begun() -> Q:
    """Return the condition for live step runs of steps that nobody has begun in this visit.

    One that is tried again has begun, though its new attempt has not.
    """
    same_visit = StepRun.objects.filter(run=OuterRef("run"), step=OuterRef("step"), visit=OuterRef("visit"))
    return Q(status__in=NOT_STARTED) & ~Q(Exists(same_visit.filter(index=-1, started_at__isnull=False)))


def retire_steps(using: str, run_id: UUID, names: Collection[str], now: datetime) -> None:
    """Make the current rows of ``names`` history; the live ones are cancelled and lose their lease.

    What those had taken of events is for the next visit: nothing of it was recorded.
    """
    rows = _current(using, run_id, names)
    is_any_live = rows.live().update(current=False, **_closed(StepStatus.CANCELLED, now))
    rows.update(current=False)
    if is_any_live:
        reset = StepRun.objects.using(using).filter(run_id=run_id, step__in=list(names), finished_at=now)
        put_back(using, reset.filter(status=StepStatus.CANCELLED, awaits__isnull=False))


def others_live(using: str, run_id: UUID, but: Iterable[UUID], *, running_only: bool) -> bool:
    """Return whether any step run of the run is live, beside those in ``but``.

    Only running ones, and its undo, while it is ending.
    """
    rows = StepRun.objects.using(using).filter(run_id=run_id).exclude(pk__in=list(but))
    if running_only:
        rows = rows.filter(Q(status=StepStatus.RUNNING) | Q(undoes__isnull=False))
    return rows.live().exists()


def others_move(using: str, run_id: UUID, but: Iterable[UUID], *, leaving: Q = NOBODY) -> bool:
    """Return whether any step run of the run is running or ready, beside those in ``but`` and ``leaving``."""
    rows = StepRun.objects.using(using).filter(run_id=run_id).exclude(pk__in=list(but)).exclude(leaving)
    return rows.filter(status__in=(StepStatus.RUNNING, StepStatus.PENDING)).exists()


def final_output(
    using: str, run_id: UUID, graph: Graph, known: Mapping[str, Any], retired: Collection[str]
) -> Any:
    """Return the output of the last step in list order that has one.

    ``known`` are outputs that are being recorded.
    """
    last = next(reversed(graph.steps))
    if last in known:
        return known[last]
    done = StepRun.objects.using(using).current().filter(HAS_OUTPUT, run_id=run_id, index=-1)
    names = {*done.exclude(step__in=retired).values_list("step", flat=True), *known}
    if not names:
        return None
    name = max(names, key=lambda each: graph.position[each])
    return known[name] if name in known else done.filter(step=name).values_list("output", flat=True).last()


def _current(using: str, run_id: UUID, names: Collection[str]) -> StepRunQuerySet:
    return StepRun.objects.using(using).current().filter(run_id=run_id, step__in=list(names))


def _closed(status: StepStatus, now: datetime) -> dict[str, Any]:
    return {
        "status": status,
        "waiting_for": "",
        "due_at": None,
        "lease_token": None,
        "lease_until": None,
        "finished_at": now,
    }
