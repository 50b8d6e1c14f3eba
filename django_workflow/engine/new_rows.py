"""Step runs to insert: the first of a step's visit, a further attempt, the items under ``max_parallel``.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..definition.graph import Graph
from ..status import StepStatus, WaitingFor
from .moves import NewRow, RunState, StepState


def first_row(graph: Graph, run: RunState, name: str, now: datetime) -> NewRow:
    """Return the first step run of the next visit of ``name``: ready now, or after the step's ``delay``."""
    delay = graph.steps[name].delay
    new = NewRow(
        step=name,
        visit=run.jumps.visits.get(name, 0) + 1,
        began=run.number,
        due_at=None if run.paused else now,
    )
    if not delay:
        return new
    return replace(new, status=StepStatus.WAITING, waiting_for=WaitingFor.TIMER, due_at=now + delay)


def skipped_row(graph: Graph, run: RunState, name: str, now: datetime) -> NewRow:
    """Return the step run of a step that a jump passes by."""
    new = first_row(graph, run, name, now)
    return replace(new, status=StepStatus.SKIPPED, waiting_for="", due_at=None)


def next_attempt(step: StepState, wait: timedelta, now: datetime, *, paused: bool) -> NewRow:
    """Return the attempt that follows a failed one of the same visit, after ``wait``."""
    new = NewRow(
        step=step.step,
        visit=step.visit,
        index=step.index,
        attempt=step.attempt + 1,
        counted_from=step.counted_from,
        began=step.began,
        due_at=None if paused else now,
    )
    if not wait:
        return new
    return replace(new, status=StepStatus.WAITING, waiting_for=WaitingFor.RETRY, due_at=now + wait)


def share_slots(max_parallel: int | None, items: Sequence[NewRow]) -> tuple[NewRow, ...]:
    """Return ``items`` so that the first ``max_parallel`` may start and the others wait for a slot."""
    free = len(items) if max_parallel is None else max_parallel
    waiting = [
        replace(each, status=StepStatus.WAITING, waiting_for=WaitingFor.SLOT, due_at=None)
        for each in items[free:]
    ]
    return (*items[:free], *waiting)
