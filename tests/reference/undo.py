"""The naive model's undo: what is done is taken back, the latest first, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.definitions import UNDO_RETRY, Naps, Outcome, Waits
from tests.reference.paths import policy_left
from tests.reference.rows import Row, next_attempt
from tests.support.definitions import Raises

if TYPE_CHECKING:
    from tests.reference.flow import FlowRun

MADE = ("done", "skipped")


def next_undo(run: FlowRun) -> Row | None:
    """Return the row that undoes the latest done step run that is not undone; of items, not of their step."""
    made = [row.undoes for row in run.undos() if row.status in MADE]
    left = [
        row
        for row in run.rows
        if row.status == "done" and row.undoes is None and row.key not in made and _has_undo(run, row)
    ]
    if not left:
        return None
    last = max(left, key=lambda row: row.number)
    name = f"{last.step}:undo"
    return Row(name, last.visit, run.paths.number, index=last.index, is_current=False, undoes=last.key)


def _has_undo(run: FlowRun, row: Row) -> bool:
    step = run.paths.steps[row.step]
    return step.undo is not None and (step.for_each is None or row.index >= 0)


def record_undo(run: FlowRun, row: Row, outcome: Outcome) -> None:
    """Go on with the next undo when one is done; one that failed stops the others."""
    if isinstance(outcome, Naps | Waits):
        run.wait(row, outcome)
    elif isinstance(outcome, Raises):
        row.close("failed")
        row.error = outcome.error.__name__
        if policy_left(UNDO_RETRY, outcome.error, row.attempt - row.counted_from + 1):
            again = next_attempt(row)
            again.wait("retry", is_timed=True)
            run.rows.append(again)
    else:
        row.finish()
        following = next_undo(run)
        if following is not None:
            run.rows.append(following)
