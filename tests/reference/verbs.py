"""What people do to a run of the naive model: the operator's verbs, events, and what called runs come to.

Each is refused where the design says so, and then nothing is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.reference.ends import end, settle
from tests.reference.events import give_out
from tests.reference.flow import FlowRun
from tests.reference.items import share_slots
from tests.reference.paths import TooManyVisits
from tests.reference.rows import Event, Row, next_attempt
from tests.reference.undo import MADE, next_undo


class Refused(Exception):
    """The run's status does not allow the verb."""


def apply(run: FlowRun, verb: Callable[..., None], *arguments: object) -> bool:
    """Do ``verb``; return False where it was refused."""
    before, book = dict(vars(run)), copy.deepcopy(run.paths.book)
    try:
        run.tick()
        verb(run, *arguments)
    except (Refused, TooManyVisits):
        vars(run).update(before)
        run.paths.book = book
        return False
    settle(run)
    return True


def cancel(run: FlowRun) -> None:
    """End any run that is not final; the end of one that is being undone is that of its undo."""
    _demand(not run.final and not (run.ending and run.undos()))
    end(run, "cancelled")


def pause(run: FlowRun) -> None:
    """Let nothing more of the run start."""
    _demand(not run.final and not run.ending and not run.is_paused)
    run.is_paused = True


def resume(run: FlowRun) -> None:
    """Let a paused run go on."""
    _demand(run.is_paused)
    run.is_paused = False


def retry(run: FlowRun) -> None:
    """Go on from what failed and from what the ending cancelled."""
    _demand(run.final == "failed")
    _revive(run)
    made = [*_new_attempts(run), *_take_up_jumps(run), *run.paths.enter_ready()]
    _demand(bool(made))


def skip(run: FlowRun, name: str) -> None:
    """Pass over a step that waits or failed, giving it an output; the run goes on as if it were done."""
    if name.endswith(":undo"):
        _skip_undo(run, name)
        return
    _demand(run.final in ("", "failed") and not (run.ending and not run.final))
    row = run.paths.current.get(name)
    _demand(row is not None)
    assert row is not None
    action = run.paths.steps[name].next or "continue"
    if run.final:
        _skip_failed(run, row, action)
        return
    _demand(row.status == "waiting")
    for item in run.paths.items(name):
        if not item.is_final:
            item.close("cancelled")
    _pass_over(run, row)
    _follow(run, row, action)


def undo(run: FlowRun) -> None:
    """Undo what a final run has done; try again what could not be undone."""
    _demand(bool(run.final))
    made = [row.undoes for row in run.undos() if row.status in MADE]
    failed = [row for row in run.undos() if row.undoes not in made]
    first = next_attempt(failed[-1], is_counted_anew=True) if failed else next_undo(run)
    _demand(first is not None)
    assert first is not None
    run.ending, run.final = run.final, ""
    run.rows.append(first)


def send(run: FlowRun, name: str) -> None:
    """Store an event for a run that is not final, and give it to who waits for it."""
    _demand(not run.final)
    run.paths.book.events.append(Event(len(run.paths.book.events), name))
    give_out(run)


def end_child(run: FlowRun, place: int, status: str) -> None:
    """A called run is over: what waits for it goes on."""
    child = run.paths.book.children[place]
    _demand(child.status == "waiting")
    child.status = status
    _wake_callers(run)


def _demand(is_allowed: bool) -> None:
    if not is_allowed:
        raise Refused


def _revive(run: FlowRun) -> None:
    _demand(not run.undos())
    run.final = run.ending = run.error = ""


def _is_to_retry(row: Row) -> bool:
    return row.status == "cancelled" or (row.status == "failed" and not row.is_handled)


def _new_attempts(run: FlowRun) -> list[Row]:
    made: list[Row] = []
    for row in [row for row in run.paths.current.values() if _is_to_retry(row)]:
        old = [item for item in run.paths.items(row.step) if item.visit == row.visit and _is_to_retry(item)]
        step, *items = (next_attempt(each, is_counted_anew=True) for each in [row, *old])
        share_slots(run, items)
        if items:
            step.wait("items")
        for before, again in zip([row, *old], [step, *items], strict=True):
            _keep_child(run, before, again)
            run.paths.add(again)
            made.append(again)
    _wake_callers(run)
    return made


def _keep_child(run: FlowRun, before: Row, again: Row) -> None:
    """A called run that failed is retried; one that is done gives its output."""
    if before.child is None or before.child.status == "cancelled":
        return
    again.child = before.child
    again.wait("child", is_timed=run.has_timeout(again.step))
    if before.child.status == "failed":
        before.child.status = "waiting"


def _wake_callers(run: FlowRun) -> None:
    for row in run.rows:
        if row.waiting_for == "child" and row.child is not None and row.child.status != "waiting":
            row.close("pending")
            row.event = ("child", None)


def _take_up_jumps(run: FlowRun) -> list[Row]:
    """Make the jumps of the steps that were recorded while the run was ending, in that order."""
    before = list(run.rows)
    for row in sorted(before, key=lambda row: row.number):
        if row.leads_to and row.is_current:
            run.tick()
            run.paths.jump(row, row.leads_to)
            row.leads_to = ""
    return [row for row in run.rows if row not in before]


def _pass_over(run: FlowRun, row: Row) -> None:
    row.close("skipped")
    row.output, row.event, row.number, row.is_handled = "given", None, run.paths.number, True


def _follow(run: FlowRun, row: Row, action: str) -> None:
    if action == "end":
        end(run, "done")
        return
    if action != "continue":
        run.paths.jump(row, action)
    run.paths.enter_ready()


def _skip_failed(run: FlowRun, row: Row, action: str) -> None:
    _demand(row.status == "failed" and not row.is_handled)
    _revive(run)
    _pass_over(run, row)
    others = [each for each in run.paths.current.values() if each.status == "failed" and not each.is_handled]
    if others:
        first = min(others, key=lambda each: each.number)
        run.final = run.ending = "failed"
        run.error = first.error
        row.leads_to = action if action in run.paths.steps else ""
        return
    _new_attempts(run)
    _follow(run, row, action)
    if not run.ending:
        _take_up_jumps(run)
        run.paths.enter_ready()


def _skip_undo(run: FlowRun, name: str) -> None:
    made = [row.undoes for row in run.undos() if row.status in MADE]
    left = [row for row in run.undos() if row.step == name and row.undoes not in made]
    _demand(bool(left) and left[-1].status in ("waiting", "failed", "cancelled"))
    left[-1].close("skipped")
    left[-1].output = "given"
    first = next_undo(run)
    if first is not None:
        run.ending, run.final = run.ending or run.final, ""
        run.rows.append(first)
