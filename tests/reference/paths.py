"""The part of the naive model that knows needs, joins, jumps and visits, written from the design alone.

It shares nothing with the engine but the graph.
"""

from __future__ import annotations

from collections.abc import Iterable

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec, WorkflowSpec
from django_workflow.exceptions import PermanentError
from django_workflow.retry import Retry
from tests.reference.rows import FINAL, Book, Key, Row

DEFAULT_MAX_VISITS = 1000


class TooManyVisits(Exception):
    """A recording asks for one visit more than ``max_visits`` allows."""


def error_names(error: type[Exception]) -> list[str]:
    """Return what an error answers to, nearest class first."""
    return [kind.__name__ for kind in error.__mro__]


def policy_left(policies: Iterable[Retry] | None, error: type[Exception], counted: int) -> Retry | None:
    """Return the policy that gives another attempt after ``counted``; the first that matches counts."""
    if issubclass(error, PermanentError):
        return None
    for policy in policies or ():
        if not policy.errors or set(policy.errors) & set(error_names(error)):
            return policy if counted < policy.attempts else None
    return None


def error_action(step: StepSpec, error: type[Exception]) -> str:
    """Return ``continue``, ``fail`` or a jump's target."""
    if isinstance(step.on_error, str):
        return step.on_error
    for name in [*error_names(error), "*"]:
        if name in step.on_error:
            return step.on_error[name]
    return "fail"


class Paths:
    """The rows of a run, and what the definition says about which come next."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.steps = {step.name: step for step in spec.steps}
        self.graph = Graph(spec.steps)
        self.max_visits = spec.max_visits or DEFAULT_MAX_VISITS
        self.book = Book()
        self._enter(name for name, needs in self.graph.needs.items() if not needs and self._is_main(name))

    @property
    def number(self) -> int:
        """The number of the latest recording."""
        return len(self.book.jumps)

    @property
    def current(self) -> dict[str, Row]:
        """The current row of each step that has one, without items."""
        return {row.step: row for row in self.book.rows if row.is_current and row.index < 0}

    def items(self, step: str) -> list[Row]:
        """Return the current rows of the step's items, by index."""
        rows = [row for row in self.book.rows if row.is_current and row.step == step and row.index >= 0]
        return sorted(rows, key=lambda row: row.index)

    def get(self, key: Key) -> Row:
        """Return the row with that key."""
        return next(row for row in self.book.rows if row.key == key)

    def add(self, row: Row) -> None:
        """Add a row, which takes the place of the attempt before it."""
        for each in self.book.rows:
            if (each.step, each.index) == (row.step, row.index):
                each.is_current = False
        self.book.rows.append(row)

    def enter_ready(self) -> list[Row]:
        """Give a row to each step that may start now, and return these."""
        return self._enter([name for name in self.steps if self._becomes_ready(name)])

    # Jumps

    def jump(self, source: Row, target: str) -> None:
        """Leave ``source`` for ``target``: end its branch, and begin the target's region anew."""
        region = self.graph.after(target) | {target}
        self._skip(self.graph.after(source.step) - region)
        if self._was_entered_since(source, target):
            return
        for row in self.book.rows:
            if row.is_current and row.step in region:
                row.is_current = False
                if not row.is_final:
                    row.close("cancelled")
                    row.put_back()
        self.book.jumps[-1] = target
        self._begin(target, by_jump=True)

    def _was_entered_since(self, source: Row, target: str) -> bool:
        found = self.current.get(target)
        return found is not None and not found.is_final and found.by_jump and found.began > source.began

    def _skip(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            row = self.current.get(name)
            if row is None:
                passed_by = Row(name, self._next_visit(name, is_limited=False), self.number)
                passed_by.close("skipped")
                self.add(passed_by)
            elif not row.has_started and not row.is_final:
                row.close("skipped")

    # Readiness

    def _becomes_ready(self, name: str) -> bool:
        needs = self.graph.needs[name]
        if name in self.current or not needs:
            return False
        if not self._is_main(name) and not self._is_under_way(name):
            return False
        states = {need: self._state(need) for need in needs}
        fires = [need for need in needs if self._is_done(need) and self._is_waited_for(need, name)]
        if self.steps[name].join == "any" and fires:
            return True
        return all(state in FINAL for state in states.values())

    def _is_done(self, need: str) -> bool:
        """Say whether it is done, or was passed over by a person as if it were."""
        row = self.current.get(need)
        return row is not None and (row.status == "done" or (row.status == "skipped" and row.is_handled))

    def _is_waited_for(self, need: str, name: str) -> bool:
        """Only a need that the same jump reset fires ``any`` again; what ended before it counts as
        finished."""
        for target in reversed(self.book.jumps):
            if target and (name == target or name in self.graph.after(target)):
                return need == target or need in self.graph.after(target)
        return True

    def _state(self, name: str) -> str:
        """Return the status of a need; ``""`` while it is still to come."""
        row = self.current.get(name)
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
        return name in self.current or any(self._is_under_way(need) for need in self.graph.needs[name])

    # Visits

    def _next_visit(self, name: str, *, is_limited: bool = True) -> int:
        visit = 1 + max((row.visit for row in self.book.rows if row.step == name), default=0)
        if is_limited and visit > self.max_visits:
            raise TooManyVisits
        return visit

    def _enter(self, names: Iterable[str]) -> list[Row]:
        return [self._begin(name) for name in names]

    def _begin(self, name: str, *, by_jump: bool = False) -> Row:
        row = Row(name, self._next_visit(name), self.number, by_jump)
        if self.steps[name].delay:
            row.wait("timer", is_timed=True)
        self.add(row)
        return row
