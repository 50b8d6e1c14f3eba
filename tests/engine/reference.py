"""A naive model of a run: slow, obvious, and written from the design alone, to check the engine against.

It shares nothing with the engine but the graph. Whoever drives it picks which step starts or finishes next.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec, WorkflowSpec
from django_workflow.exceptions import PermanentError
from django_workflow.outcomes import End, Goto

from .definitions import Raises, Script

DEFAULT_MAX_VISITS = 1000
FINAL = frozenset({"done", "failed", "skipped", "cancelled"})
Entry = tuple[str, int, int, str]


class TooManyVisits(Exception):
    """A recording asks for one visit more than ``max_visits`` allows."""


@dataclass(slots=True)
class Row:
    """One attempt of one visit of a step. ``began``: the number of the recording that began the visit."""

    step: str
    visit: int
    began: int
    by_jump: bool
    attempt: int = 1
    status: str = "pending"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def has_started(self) -> bool:
        return self.status != "pending" or self.attempt > 1


@dataclass(slots=True)
class Book:
    """All that a run remembers, in one place, so that a recording can be taken back."""

    rows: list[Row]
    current: dict[str, Row]
    jumps: list[str]  # the target that was entered by recording 1, 2, …; "" where none was


class ReferenceRun:
    """A run of ``spec`` in which each call of a step does what ``script`` says."""

    def __init__(self, spec: WorkflowSpec, script: Script) -> None:
        self.steps = {step.name: step for step in spec.steps}
        self.graph = Graph(spec.steps)
        self.max_visits = spec.max_visits or DEFAULT_MAX_VISITS
        self.script = script
        self.ending = ""
        self.book = Book([], {}, [])
        self._enter(name for name, needs in self.graph.needs.items() if not needs and self._is_main(name))

    # What can be asked

    @property
    def status(self) -> str:
        """``pending`` until something starts, ``running``, then ``done`` or ``failed``."""
        if self.ready() or self.running():
            started = any(row.has_started for row in self.book.rows)
            return "running" if started else "pending"
        return self.ending or "done"

    @property
    def history(self) -> list[Entry]:
        """Every attempt so far, oldest first: step, visit, attempt, status."""
        return [(row.step, row.visit, row.attempt, row.status) for row in self.book.rows]

    def ready(self) -> set[str]:
        """Return the steps that may start now."""
        return {name for name, row in self.book.current.items() if row.status == "pending"}

    def running(self) -> set[str]:
        """Return the steps that may finish now."""
        return {name for name, row in self.book.current.items() if row.status == "running"}

    # What can happen

    def start(self, name: str) -> None:
        """Somebody begins to work on a step that is ready."""
        assert name in self.ready()
        self.book.current[name].status = "running"

    def finish(self, name: str) -> None:
        """A running step is recorded, with what the script makes of it, and with everything that follows."""
        assert name in self.running()
        before = copy.deepcopy(self.book)
        try:
            self.book.jumps.append("")
            self._record(self.book.current[name])
        except TooManyVisits:
            self.book = before
            self.book.jumps.append("")
            self.book.current[name].status = "failed"
            self._end("failed")

    def _record(self, row: Row) -> None:
        """Give ``row`` its status, then do what follows from it: nothing in a run that is ending."""
        status, follows = self._result(row)
        row.status = status
        if self.ending:
            return
        if follows == "retry":
            self._add(Row(row.step, row.visit, row.began, row.by_jump, row.attempt + 1))
        elif follows in ("end", "fail"):
            self._end("done" if follows == "end" else "failed")
        elif follows != "continue":
            self._jump(row, follows)
        if not self.ending:
            self._enter([name for name in self.steps if self._becomes_ready(name)])

    def _end(self, status: str) -> None:
        """Head for a final status: what has not begun never will, what runs may finish."""
        self.ending = status
        for name in self.ready():
            self.book.current[name].status = "cancelled"

    # What a result means

    def _result(self, row: Row) -> tuple[str, str]:
        """Return the status of ``row``, and ``continue``, ``retry``, ``fail``, ``end`` or a jump's target."""
        step = self.steps[row.step]
        if row.attempt == 1 and step.condition and (row.step, row.visit) in self.script.refused:
            return "skipped", "continue"
        result = self.script.result(row.step, visit=row.visit, attempt=row.attempt)
        if isinstance(result, Raises):
            return "failed", self._after_error(step, result.error, row.attempt)
        if isinstance(result, End):
            return "done", "end"
        return "done", result.step if isinstance(result, Goto) else step.next or "continue"

    @staticmethod
    def _after_error(step: StepSpec, error: type[Exception], attempt: int) -> str:
        names = [kind.__name__ for kind in error.__mro__]
        if not issubclass(error, PermanentError):
            for policy in step.retry or ():
                if not policy.errors or set(policy.errors) & set(names):
                    if attempt < policy.attempts:
                        return "retry"
                    break
        if isinstance(step.on_error, str):
            return step.on_error
        for name in [*names, "*"]:
            if name in step.on_error:
                return step.on_error[name]
        return "fail"

    # Jumps

    def _jump(self, source: Row, target: str) -> None:
        """Leave ``source`` for ``target``: end its branch, and begin the target's region anew."""
        region = self.graph.after(target) | {target}
        self._skip(self.graph.after(source.step) - region)
        if self._was_entered_since(source, target):
            return
        for name in region:
            dropped = self.book.current.pop(name, None)
            if dropped and not dropped.is_final:
                dropped.status = "cancelled"
        self.book.jumps[-1] = target
        self._add(Row(target, self._next_visit(target), self._number, by_jump=True))

    def _was_entered_since(self, source: Row, target: str) -> bool:
        found = self.book.current.get(target)
        return found is not None and not found.is_final and found.by_jump and found.began > source.began

    def _skip(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            row = self.book.current.get(name)
            if row is None:
                passed_by = Row(name, self._next_visit(name, limited=False), self._number, by_jump=False)
                self._add(passed_by)
                passed_by.status = "skipped"
            elif not row.has_started:
                row.status = "skipped"

    # Readiness

    def _becomes_ready(self, name: str) -> bool:
        needs = self.graph.needs[name]
        if name in self.book.current or not needs:
            return False
        if not self._is_main(name) and not self._is_under_way(name):
            return False
        states = {need: self._state(need) for need in needs}
        fires = [need for need in needs if states[need] == "done" and self._is_waited_for(need, name)]
        if self.steps[name].join == "any" and fires:
            return True
        return all(state in FINAL for state in states.values())

    def _is_waited_for(self, need: str, name: str) -> bool:
        """Only a need that the same jump reset fires ``any`` again; what ended before it counts as
        finished."""
        for target in reversed(self.book.jumps):
            if target and (name == target or name in self.graph.after(target)):
                return need == target or need in self.graph.after(target)
        return True

    def _state(self, name: str) -> str:
        """Return the status of a need; ``""`` while it is still to come."""
        row = self.book.current.get(name)
        if row is not None:
            return row.status
        return "" if self._is_main(name) or self._is_under_way(name) else "skipped"

    def _is_main(self, name: str) -> bool:
        """Say whether ``name`` runs without a jump: not if it says ``jump`` or needs only steps that do."""
        if self.steps[name].needs == "jump":
            return False
        needs = self.graph.needs[name]
        return not needs or any(self._is_main(need) for need in needs)

    def _is_under_way(self, name: str) -> bool:
        """Say whether a jump has started the path that ``name`` is on."""
        return name in self.book.current or any(self._is_under_way(need) for need in self.graph.needs[name])

    # Rows

    @property
    def _number(self) -> int:
        return len(self.book.jumps)

    def _next_visit(self, name: str, *, limited: bool = True) -> int:
        visit = 1 + max((row.visit for row in self.book.rows if row.step == name), default=0)
        if limited and visit > self.max_visits:
            raise TooManyVisits
        return visit

    def _enter(self, names: Iterable[str]) -> None:
        for name in names:
            self._add(Row(name, self._next_visit(name), self._number, by_jump=False))

    def _add(self, row: Row) -> None:
        self.book.rows.append(row)
        self.book.current[row.step] = row
