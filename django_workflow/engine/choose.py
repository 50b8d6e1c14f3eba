"""Which due step runs one claim takes: the oldest, and what may go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef

from ..conf import get_settings
from ..definition.program import Program
from ..models import StepRun, StepRunQuerySet
from ..registry import Handler
from ..status import RunStatus, StepStatus
from .programs import get_program
from .rows import handler_of
from .sharing import is_concurrent, may_share, shares_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one claim takes. ``leaves_others``: more is due, or may be, which others can begin with."""

    rows: Sequence[StepRun]
    leaves_others: bool


def find_due(
    using: str, now: datetime, *, run_id: UUID | None = None, queue: str | None = None
) -> StepRunQuerySet:
    """Return the step runs that are due, of one run or one queue where given, oldest first, with their runs.

    What runs is not among them: when its lease has expired, clocks make it ready.
    """
    due = StepRun.objects.using(using).due(now).exclude(status=StepStatus.RUNNING)
    due = due.exclude(run__status=RunStatus.PAUSED)
    if run_id is not None:
        due = due.filter(run_id=run_id)
    if queue is not None:
        due = due.filter(queue=queue)
    return due.select_related("run__workflow").order_by("due_at", "id")


def choose(due: StepRunQuerySet, row: StepRun, seen: int, *, most: int) -> Chosen:
    """Return ``row``, which is due, with what may be claimed with it: up to ``most``.

    ``seen``: how many due rows were read to find it.
    """
    using = due.db
    handler = handler_for(row, using)
    if most > 1 and not row.solo and not row.run.ending:
        if is_concurrent(handler):
            return _choose_concurrent(due, row)
        if seen > 1 and row.index >= 0 and row.undoes_id is None and shares_items(handler):
            return _choose_items(due, row, most)
        if seen > 1 and row.index < 0 and may_share(handler):
            return _choose_runs(due, row, most)
    return Chosen(rows=[row], leaves_others=seen > 1)


def find_concurrent(due: StepRunQuerySet, *, most: int, among: int) -> list[StepRun]:
    """Return up to ``most`` steps that may wait in one event loop, ``among`` so many of the oldest."""
    rows = [row for row in due[:among] if not row.solo and not row.run.ending]
    readable = [row for row in rows if is_readable(row, due.db)]
    return [row for row in readable if is_concurrent(handler_for(row, due.db))][:most]


def is_readable(row: StepRun, using: str) -> bool:
    """Return whether the row's step is in the definition as this process reads it."""
    return row.step in program_of(row, using).steps


def program_of(row: StepRun, using: str) -> Program:
    """Return what the run of a step run executes."""
    assert row.run.version_id is not None
    return get_program(row.run.version_id, using)


def handler_for(row: StepRun, using: str) -> Handler | None:
    """Return the handler of the row's step; None where this process does not know its type."""
    return handler_of(program_of(row, using), row.step)


def _choose_concurrent(due: StepRunQuerySet, row: StepRun) -> Chosen:
    most = get_settings().ASYNC_TOGETHER
    rows = find_concurrent(due, most=most, among=most + 1) or [row]
    return Chosen(rows=rows, leaves_others=len(rows) == most or due.exclude(pk__in=_keys(rows)).exists())


def _choose_items(due: StepRunQuerySet, row: StepRun, most: int) -> Chosen:
    """Return the oldest due items of one step, ``row`` among them.

    Their run is not read again for each: what was changed since is seen at its gate.
    """
    items = due.filter(run_id=row.run_id, step=row.step, visit=row.visit, index__gte=0, solo=False)
    rows = list(items.select_related(None).order_by("due_at", "index")[:most])
    for each in rows:
        each.run = row.run
    if not any(each.pk == row.pk for each in rows):
        return Chosen(rows=[row], leaves_others=True)
    return Chosen(rows=rows, leaves_others=len(rows) == most or due.exclude(pk__in=_keys(rows)).exists())


def _choose_runs(due: StepRunQuerySet, row: StepRun, most: int) -> Chosen:
    """Return the oldest due steps of as many runs, each the only live one of its run."""
    using = due.db
    live = StepRun.objects.using(using).live().filter(run=OuterRef("run")).exclude(pk=OuterRef("pk"))
    found = list(due.annotate(has_siblings=Exists(live))[:most])
    readable = [each for each in found if is_readable(each, using)]
    rows = [each for each in readable if _may_share_round(each, using)]
    if not readable or not _may_share_round(readable[0], using):
        rows = readable[:1] or [row]
    return Chosen(rows=rows, leaves_others=len(found) > len(rows) or len(found) == most)


def _may_share_round(row: StepRun, using: str) -> bool:
    is_apart = row.solo or row.run.ending or row.index >= 0 or getattr(row, "has_siblings", False)
    handler = handler_for(row, using)
    return not is_apart and may_share(handler) and not is_concurrent(handler)


def _keys(rows: Sequence[StepRun]) -> list[UUID]:
    return [row.pk for row in rows]
