"""Undo: what done steps did is taken back, the latest first, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from ..definition.program import UNDO, Program
from ..definition.spec import StepSpec
from ..models import Run, StepRun, StepRunQuerySet
from ..retry import Retry
from ..status import StepStatus
from .moves import Finished, NewRow, Plan, Result, RowMove, RunState, StepState
from .new_rows import next_attempt
from .plan import final_status, plan_wait
from .rows import step_state

# An undo that a person skipped counts as made, by hand.
MADE = (StepStatus.DONE, StepStatus.SKIPPED)


def plan_undo(
    spec: StepSpec,
    run: RunState,
    step: StepState,
    result: Result,
    *,
    undoes: UUID,
    now: datetime,
    handler_retry: Sequence[Retry],
    roll: float,
) -> Plan:
    """Return what recording ``result`` of an undo changes, without the undo that comes next. Pure.

    Whatever is returned, an undo neither jumps nor ends anything: its run is ending already.
    """
    going_on = replace(run, ending="")
    waits = plan_wait(spec, going_on, step, result, now=now, handler_retry=handler_retry, roll=roll)
    if waits is None:
        return Plan(row=RowMove(status=final_status(result), postponed=step.postponed, current=False))
    again = tuple(replace(new, undoes=undoes) for new in waits.create)
    return replace(waits, row=replace(waits.row, current=False), create=again)


def next_undo(
    using: str, run: Run, program: Program, *, now: datetime, number: int, made: UUID | None = None
) -> NewRow | None:
    """Return the undo of the latest done step that has none yet; None when all are made.

    ``made``: the step run whose undo is being recorded; ``number`` that of the recording.
    """
    left = _to_undo(using, run, program)
    row = (left if made is None else left.exclude(pk=made)).order_by("-number").first()
    return None if row is None else _undo_of(row, now=now, number=number)


def _undo_of(row: StepRun, *, now: datetime, number: int) -> NewRow:
    return NewRow(
        step=f"{row.step}{UNDO}",
        visit=row.visit,
        index=row.index,
        began=number,
        due_at=now,
        undoes=row.pk,
    )


def undo_of_recorded(
    program: Program, rows: Iterable[StepRun], *, now: datetime, number: int
) -> NewRow | None:
    """Return the undo of the step run among ``rows`` that becomes done right now; None where none has one."""
    for row in rows:
        spec = program.graph.steps.get(row.step)
        if row.undoes_id is not None or spec is None or spec.undo is None:
            continue
        # Of a map the items are undone, and not the step as a whole.
        if row.index >= 0 or spec.for_each is None:
            return _undo_of(row, now=now, number=number)
    return None


def failed_undo(using: str, run: Run, *, now: datetime) -> NewRow | None:
    """Return a new attempt at the undo that failed and stopped the others; None where none did."""
    undone = _undos(using, run).filter(status__in=MADE, undoes=OuterRef("undoes"))
    failed = _undos(using, run).filter(status__in=(StepStatus.FAILED, StepStatus.CANCELLED))
    row = failed.exclude(Exists(undone)).order_by("-attempt").first()
    if row is None:
        return None
    state = step_state(row)
    again = next_attempt(state, timedelta(0), now, paused=False)
    return replace(again, counted_from=state.attempt + 1, undoes=row.undoes_id)


def failed_step(using: str, run: Run) -> str:
    """Return the name of the step whose failure ended ``run``, or else of its latest, whatever was undone."""
    rows = StepRun.objects.using(using).current().filter(run=run, index=-1, undoes=None)
    failed = rows.filter(status=StepStatus.FAILED, handled=False).order_by("number").first()
    row = failed or rows.order_by("pk").last()
    return run.step if row is None else row.step


def has_begun(using: str, run: Run) -> bool:
    """Return whether anything of the run was undone, or is being undone."""
    return _undos(using, run).exists()


def goes_on(result: Result) -> bool:
    """Return whether the undo of the step before follows: a failed one stops the others."""
    return isinstance(result, Finished)


def _undos(using: str, run: Run) -> StepRunQuerySet:
    return StepRun.objects.using(using).filter(run=run, undoes__isnull=False)


def _to_undo(using: str, run: Run, program: Program) -> StepRunQuerySet:
    steps = [step for step in program.spec.steps if step.undo is not None]
    by_item = [step.name for step in steps if step.for_each is not None]
    done = StepRun.objects.using(using).filter(
        run=run, status=StepStatus.DONE, undoes=None, step__in=[step.name for step in steps]
    )
    made = _undos(using, run).filter(undoes=OuterRef("pk"), status__in=MADE)
    return done.exclude(Q(index=-1, step__in=by_item)).exclude(Exists(made))
