"""A naive model of a run: slow, obvious, and written from the design alone, to check the plan against.

Whoever drives it picks which step starts or finishes next. ``reference_flow`` has the rest of the engine:
what takes time, and what people do.
"""

from __future__ import annotations

import copy

from django_workflow.definition.spec import WorkflowSpec
from django_workflow.outcomes import End, Goto
from tests.reference.paths import Paths, TooManyVisits, error_action, policy_left
from tests.reference.rows import Row
from tests.support.definitions import Raises, Script

Entry = tuple[str, int, int, str]


class ReferenceRun:
    """A run of ``spec`` in which each call of a step does what ``script`` says."""

    def __init__(self, spec: WorkflowSpec, script: Script) -> None:
        self.paths = Paths(spec)
        self.script = script
        self.ending = ""

    # What can be asked

    @property
    def status(self) -> str:
        """``pending`` until something starts, ``running``, then ``done`` or ``failed``."""
        if self.ready() or self.running():
            started = any(row.has_started for row in self.paths.book.rows)
            return "running" if started else "pending"
        return self.ending or "done"

    @property
    def history(self) -> list[Entry]:
        """Every attempt so far, oldest first: step, visit, attempt, status."""
        return [(row.step, row.visit, row.attempt, row.status) for row in self.paths.book.rows]

    def ready(self) -> set[str]:
        """Return the steps that may start now."""
        return {name for name, row in self.paths.current.items() if row.status == "pending"}

    def running(self) -> set[str]:
        """Return the steps that may finish now."""
        return {name for name, row in self.paths.current.items() if row.status == "running"}

    # What can happen

    def start(self, name: str) -> None:
        """Somebody begins to work on a step that is ready."""
        assert name in self.ready()
        row = self.paths.current[name]
        row.status, row.has_started = "running", True

    def finish(self, name: str) -> None:
        """A running step is recorded, with what the script makes of it, and with everything that follows."""
        assert name in self.running()
        before = copy.deepcopy(self.paths.book)
        try:
            self.paths.book.jumps.append("")
            self._record(self.paths.current[name])
        except TooManyVisits:
            self.paths.book = before
            self.paths.book.jumps.append("")
            self.paths.current[name].status = "failed"
            self._end("failed")

    def _record(self, row: Row) -> None:
        """Give ``row`` its status, then do what follows from it: nothing in a run that is ending."""
        status, follows = self._result(row)
        row.status = status
        if self.ending:
            return
        if follows == "retry":
            again = Row(row.step, row.visit, row.began, row.by_jump, row.attempt + 1, has_started=True)
            self.paths.add(again)
        elif follows in ("end", "fail"):
            self._end("done" if follows == "end" else "failed")
        elif follows != "continue":
            self.paths.jump(row, follows)
        if not self.ending:
            self.paths.enter_ready()

    def _end(self, status: str) -> None:
        """Head for a final status: what has not begun never will, what runs may finish."""
        self.ending = status
        for name in self.ready():
            self.paths.current[name].status = "cancelled"

    # What a result means

    def _result(self, row: Row) -> tuple[str, str]:
        """Return the status of ``row``, and ``continue``, ``retry``, ``fail``, ``end`` or a jump's target."""
        step = self.paths.steps[row.step]
        if row.attempt == 1 and step.condition and (row.step, row.visit) in self.script.refused:
            return "skipped", "continue"
        result = self.script.result(row.step, visit=row.visit, attempt=row.attempt)
        if isinstance(result, Raises):
            is_retried = policy_left(step.retry, result.error, row.attempt) is not None
            return "failed", "retry" if is_retried else error_action(step, result.error)
        if isinstance(result, End):
            return "done", "end"
        return "done", result.step if isinstance(result, Goto) else step.next or "continue"
