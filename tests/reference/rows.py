"""What the naive model remembers of a run: its rows, the events sent to it, the runs it called."""

from __future__ import annotations

from dataclasses import dataclass, field

FINAL = frozenset({"done", "failed", "skipped", "cancelled"})
Key = tuple[str, int, int, int]


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

    def put_back(self) -> None:
        """Another attempt or visit begins anew: the events that this one has taken are in store again."""
        for event in self.taken:
            event.is_taken = False


@dataclass(slots=True)
class Book:
    """All that a run remembers, in one place, so that a recording can be taken back."""

    rows: list[Row] = field(default_factory=list)
    # The target that was entered by recording 1, 2, …; "" where none was.
    jumps: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)


def next_attempt(row: Row, *, is_counted_anew: bool = False) -> Row:
    """Return the attempt that follows ``row``, in the same visit; a person's counts the policy anew."""
    row.put_back()
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
