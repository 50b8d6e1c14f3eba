"""The naive model of a run with all that takes time: waits, items, called workflows, undo; and its end.

Written from the design alone. Whoever drives it says which row begins or is recorded next;
``verbs`` holds what people do to it.
"""

from __future__ import annotations

import copy

from django_workflow.definition.spec import WorkflowSpec
from django_workflow.exceptions import ChildFailed, OutcomeError, WaitTimeout
from django_workflow.outcomes import End, Goto
from tests.reference.definitions import (
    LISTS,
    TIMEOUT,
    Calls,
    FlowScript,
    Naps,
    Outcome,
    Passed,
    Spreads,
    Waits,
)
from tests.reference.ends import end, record_late, settle
from tests.reference.events import fits, give_out, read_earlier, take
from tests.reference.items import end_item, spread
from tests.reference.paths import Paths, TooManyVisits, error_action, policy_left
from tests.reference.rows import Child, Key, Row, next_attempt
from tests.reference.undo import record_undo
from tests.support.definitions import Plain, Raises


class FlowRun:
    """A run of ``spec`` in which each call of a handler does what ``script`` says."""

    def __init__(self, spec: WorkflowSpec, script: FlowScript) -> None:
        self.spec = spec
        self.script = script
        self.paths = Paths(spec)
        self.ending = self.final = self.error = ""
        self.output: object = None
        self.is_paused = self.has_begun = False

    # What can be asked

    @property
    def rows(self) -> list[Row]:
        """Every row so far, oldest first."""
        return self.paths.book.rows

    @property
    def status(self) -> str:
        """The status of the run: with one branch that moves and one that waits it is ``running``."""
        if self.final or self.is_paused:
            return self.final or "paused"
        if self.ending or not self.has_begun:
            return "running" if self.ending else "pending"
        return "running" if any(row.status in ("pending", "running") for row in self.rows) else "waiting"

    def startable(self) -> list[Key]:
        """Return what may begin now, or when its time has come."""
        if self.final or self.is_paused:
            return []
        return [row.key for row in self.rows if row.status == "pending" or row.is_timed]

    def running(self) -> list[Key]:
        """Return what may be recorded now."""
        return [row.key for row in self.rows if row.status == "running"]

    def undos(self) -> list[Row]:
        """Return the rows that undo others."""
        return [row for row in self.rows if row.undoes is not None]

    def has_timeout(self, step: str) -> bool:
        """Say whether the waits of a step come to an end by its own time limit."""
        return step in self.paths.steps and self.paths.steps[step].timeout == TIMEOUT

    def is_stopped(self, row: Row) -> bool:
        """Say whether another item has failed for the whole step: what still runs is awaited, and no more."""
        return row.index >= 0 and self.paths.current[row.step].stop is not None

    # What can happen

    def begin(self, key: Key) -> None:
        """Somebody begins to work on what is ready, or on what waited, as its time has come."""
        assert key in self.startable()
        row = self.paths.get(key)
        if row.waiting_for in ("event", "child"):
            row.event, row.is_late = ("timeout", None), True
        elif row.waiting_for == "timer" and row.calls:
            row.event = ("timer", None)
        row.close("running")
        row.has_started = self.has_begun = True

    def record(self, key: Key) -> None:
        """What runs is recorded, with what came of it, and with everything that follows."""
        assert key in self.running()
        self.tick()
        row = self.paths.get(key)
        row.number = self.paths.number
        outcome = self._outcome(row)
        row.text, row.event = outcome.output if isinstance(outcome, End) else _describe(row), None
        if row.undoes is not None:
            record_undo(self, row, outcome)
        elif self.ending:
            record_late(self, row, outcome)
        else:
            self._record(row, outcome)
        settle(self)

    def tick(self) -> None:
        """Give the recording that follows a number."""
        self.paths.book.jumps.append("")

    # What comes of a call

    def _outcome(self, row: Row) -> Outcome:
        step = self.paths.steps.get(row.step)
        if row.is_late:
            row.is_late = False
            if self.ending and row.undoes is None:
                return Naps()  # it waits, and what waits is cancelled
            self._take_what_came(row)
            if row.event == ("timeout", None) and not row.is_told:
                return Raises(WaitTimeout)
        if step is not None and row.index < 0 and row.event is None:
            if step.condition and self.script.is_refused(row.step, row.visit):
                return Passed()
            if step.for_each:
                return Spreads(LISTS[step.for_each])
        row.calls += 1
        if step is not None and step.type == "flow.call":
            return _outcome_of_call(row)
        result = self.script.result(row.key, row.calls)
        return Raises(OutcomeError) if isinstance(result, Goto) and row.index >= 0 else result

    def _take_what_came(self, row: Row) -> None:
        """What came before the deadline is taken up counts."""
        if row.child is not None and row.child.status != "waiting":
            row.event = ("child", None)
        for event in self.paths.book.events:
            if fits(row, event):
                take(row, event)
                return

    def _record(self, row: Row, outcome: Outcome) -> None:
        step = self.paths.steps[row.step]
        match outcome:
            case Passed():
                row.close("skipped")
                self.follow(row, "continue")
            case Spreads(count):
                spread(self, row, count)
            case Raises(error):
                self._fail(row, error)
            case End(output):
                row.finish()
                if self.is_stopped(row):
                    self._go_on(row, "continue")
                else:
                    end(self, "done", output=output)
            case Goto() | Plain():
                row.finish()
                target = outcome.step if isinstance(outcome, Goto) else step.next
                self._go_on(row, target or "continue")
            case _ if self.is_stopped(row):
                row.close("cancelled")
                self._go_on(row, "continue")
            case _:
                self.wait(row, outcome)

    def wait(self, row: Row, outcome: Outcome) -> None:
        """Wait for what the handler asks for."""
        has_timeout = self.has_timeout(row.step)
        match outcome:
            case Naps():
                row.wait("timer", is_timed=True)
            case Waits():
                row.names, row.is_shared, row.is_told = outcome.names, outcome.is_shared, outcome.has_limit
                row.wait("event", is_timed=has_timeout or outcome.has_limit)
                row.read |= read_earlier(self, row) if row.is_shared else set()
                give_out(self)
            case Calls():
                row.child = Child(len(self.paths.book.children))
                self.paths.book.children.append(row.child)
                row.names, row.is_told = (), False
                row.wait("child", is_timed=has_timeout)

    def _fail(self, row: Row, error: type[Exception]) -> None:
        step = self.paths.steps[row.step]
        row.close("failed")
        policy = policy_left(step.retry, error, row.attempt - row.counted_from + 1)
        if policy is not None and not self.is_stopped(row):
            again = next_attempt(row)
            if policy.delay:
                again.wait("retry", is_timed=True)
            self.paths.add(again)
            return
        action, row.error = error_action(step, error), error.__name__
        row.is_handled = action == "continue" if row.index >= 0 else action != "fail"
        self._go_on(row, action)

    def _go_on(self, row: Row, action: str) -> None:
        if row.index >= 0:
            end_item(self, row, action)
        else:
            self.follow(row, action)

    def follow(self, row: Row, action: str) -> None:
        """Do what comes after a step: ``continue``, ``end``, ``fail``, or a jump to a step."""
        before = copy.deepcopy(self.paths.book)
        try:
            if action in ("end", "fail"):
                end(self, "done" if action == "end" else "failed", row.error)
                return
            if action != "continue":
                self.paths.jump(row, action)
            self.paths.enter_ready()
        except TooManyVisits:
            self.paths.book = before
            again = self.paths.get(row.key)
            again.close("failed")
            again.output, again.is_handled = None, False
            again.error = "MaxVisitsExceeded"
            end(self, "failed", again.error)


def _describe(row: Row) -> str:
    """Return the output of a call: which it was, and what woke it."""
    if row.child is not None:
        return "child"
    item = f"[{row.index}]" if row.index >= 0 else ""
    woken = f" {row.event[0]} {row.event[1]}" if row.event else ""
    return f"{row.step}{item} {row.visit}.{row.attempt}{woken}"


def _outcome_of_call(row: Row) -> Outcome:
    if row.event is None:
        return Calls()
    assert row.child is not None
    return Plain() if row.child.status == "done" else Raises(ChildFailed)
