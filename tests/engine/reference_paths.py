"""The part of the naive model that knows needs, joins, jumps and visits, written from the design alone.

It shares nothing with the engine but the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec, WorkflowSpec
from django_workflow.exceptions import PermanentError
from django_workflow.retry import Retry

DEFAULT_MAX_VISITS = 1000
FINAL = frozenset({"done", "failed", "skipped", "cancelled"})
Key = tuple[str, int, int, int]


class TooManyVisits(Exception):
    """A recording asks for one visit more than ``max_visits`` allows."""


@dataclass(slots=True)
class Child:
    """A run that a step called: ``waiting``, ``done``, ``failed`` or ``cancelled``. Of two, one is older."""

    place: int
    status: str = "waiting"


@dataclass(slots=True)
class Event:
    """A message that was sent to the run."""

    place: int
    name: str
    is_taken: bool = False


@dataclass(slots=True)
class Row:
    """One attempt of one visit of a step, or of one of its items. ``began``: the number that began the visit.

    ``has_started``: somebody began to work on the visit, in this attempt or in an earlier one. ``number``:
    that of its last recording. ``is_timed``: it is looked at again at some time.
    """

    step: str
    visit: int
    began: int
    by_jump: bool = False
    attempt: int = 1
    index: int = -1
    status: str = "pending"
    waiting_for: str = ""
    is_timed: bool = False
    has_started: bool = False
    is_current: bool = True
    counted_from: int = 1
    number: int = 0
    output: object = None
    # What its handler gives when it is done.
    text: object = None
    error: str = ""
    is_handled: bool = False
    # How often the handler was called in this attempt, what woke it, and whether that was its deadline.
    calls: int = 0
    event: tuple[str, object] | None = None
    is_late: bool = False
    # The events it waits for, whether it tells others of them, and those that it has read.
    names: tuple[str, ...] = ()
    is_shared: bool = False
    # The call has a time limit of its own: the handler is told of that.
    is_told: bool = False
    read: set[int] = field(default_factory=set)
    taken: list[Event] = field(default_factory=list)
    child: Child | None = None
    # What its first failed item asks for: what the step does, and the error.
    stop: tuple[str, str] | None = None
    # The jump that it did not take, because the run was ending.
    leads_to: str = ""
    # The key of the row that this one undoes.
    undoes: Key | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def key(self) -> Key:
        return (self.step, self.visit, self.index, self.attempt)

    def wait(self, waiting_for: str, *, is_timed: bool = False) -> None:
        """Wait for something."""
        self.status, self.waiting_for, self.is_timed = "waiting", waiting_for, is_timed

    def close(self, status: str) -> None:
        """Be over, as ``status``."""
        self.status, self.waiting_for, self.is_timed = status, "", False

    def finish(self) -> None:
        """Be done, with what the handler gave."""
        self.close("done")
        self.output = self.text


@dataclass(slots=True)
class Book:
    """All that a run remembers, in one place, so that a recording can be taken back."""

    rows: list[Row] = field(default_factory=list)
    # The target that was entered by recording 1, 2, …; "" where none was.
    jumps: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)


def error_names(error: type[Exception]) -> list[str]:
    """Return what an error answers to, nearest class first."""
    return [kind.__name__ for kind in error.__mro__]


def policy_left(policies: Iterable[Retry] | None, error: type[Exception], counted: int) -> Retry | None:
    """Return the policy that gives another attempt after ``counted`` of them; the first that matches counts."""
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


def next_attempt(row: Row, *, is_counted_anew: bool = False) -> Row:
    """Return the attempt that follows ``row``, in the same visit; a person's counts the policy anew.

    It begins anew: the events that ``row`` has taken are in store again.
    """
    for event in row.taken:
        event.is_taken = False
    return Row(
        row.step,
        row.visit,
        row.began,
        row.by_jump,
        attempt=row.attempt + 1,
        index=row.index,
        has_started=row.has_started,
        is_current=row.undoes is None,
        counted_from=row.attempt + 1 if is_counted_anew else row.counted_from,
        undoes=row.undoes,
    )
