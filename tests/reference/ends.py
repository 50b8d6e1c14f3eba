"""The naive model's ends: what a run heads for, what comes too late, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_workflow.outcomes import End, Goto
from tests.reference.definitions import Outcome, Passed, Spreads
from tests.reference.rows import Row
from tests.reference.undo import next_undo
from tests.support.definitions import Plain, Raises

if TYPE_CHECKING:
    from tests.reference.flow import FlowRun

# The output of a run that no step has ended by itself.
LAST = object()


def record_late(run: FlowRun, row: Row, outcome: Outcome) -> None:
    """The run is ending: what came of a step is kept, and nothing follows from it."""
    match outcome:
        case Plain() | Goto() | End():
            row.finish()
            if row.index < 0 and not isinstance(outcome, End):
                _note_jump(run, row, outcome.step if isinstance(outcome, Goto) else None)
        case Raises(error):
            row.close("failed")
            row.error = error.__name__
        case Passed():
            row.close("skipped")
        case Spreads(count) if not count or run.paths.items(row.step):
            row.close("done")
            row.output = [item.output for item in run.paths.items(row.step)]
            _note_jump(run, row, None)
        case _:
            row.close("cancelled")


def _note_jump(run: FlowRun, row: Row, target: str | None) -> None:
    target = target or run.paths.steps[row.step].next
    if target in run.paths.steps:
        row.leads_to = target


def end(run: FlowRun, status: str, error: str = "", output: object = LAST) -> None:
    """Head for a final status: what is ready or waits is cancelled, what runs may finish."""
    if not run.ending:
        run.ending, run.error = status, error
        if status == "done":
            run.output = last_output(run) if output is LAST else output
    run.is_paused = False
    for row in run.rows:
        if row.status in ("pending", "waiting"):
            row.close("cancelled")


def last_output(run: FlowRun) -> object:
    """Return the output of the last step in list order that has one."""
    current = run.paths.current
    found = [current[name] for name in run.paths.steps if name in current]
    with_output = [row for row in found if row.status == "done" or row.output is not None]
    return with_output[-1].output if with_output else None


def settle(run: FlowRun) -> None:
    """Be final where nothing is left to be done; cancel the called runs that nobody waits for."""
    live = [row for row in run.rows if not row.is_final]
    if run.ending:
        live = [row for row in live if row.status == "running" or row.undoes is not None]
    if not live and not run.final:
        if not run.ending:
            run.output = last_output(run)
        _finish(run, run.ending or "done")
    for child in run.paths.book.children:
        callers = [row for row in run.rows if row.child is child and not row.is_final]
        if child.status == "waiting" and not callers:
            child.status = "cancelled"


def _finish(run: FlowRun, status: str) -> None:
    is_undone = status == "failed" and run.spec.on_failure == "undo" and not run.undos()
    first = next_undo(run) if is_undone else None
    if first is None:
        run.final, run.is_paused = status, False
    else:
        run.ending = status
        run.rows.append(first)
