"""What plan is given and what it answers: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ..status import FINAL_STEP, RunStatus, StepStatus, WaitingFor


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumps:
    """What earlier jumps left behind.

    The number at which each target was entered, visits so far, the last error.
    """

    entered: Mapping[str, int] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the run's row keeps."""
        return {"entered": dict(self.entered), "visits": dict(self.visits), "error": self.error}


NO_JUMPS = Jumps()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The facts of a run. ``number`` is that of the recording being planned: the revision it will have."""

    number: int
    ending: str = ""
    paused: bool = False
    max_visits: int = 1000
    jumps: Jumps = NO_JUMPS


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """The facts of one step run."""

    step: str
    status: StepStatus
    index: int = -1
    visit: int = 1
    attempt: int = 1
    counted_from: int = 1
    postponed: int = 0
    began: int = 0
    started: bool = False
    # Met by on_error, where it failed; passed over by a person, where it is skipped.
    handled: bool = False
    # The step run undoes another.
    is_undo: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the step run is not final."""
        return self.status not in FINAL_STEP


# What a worker reports of the step run it executed.


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The handler returned: it goes on, jumps (``goto``), or ends the run."""

    goto: str | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """The step's condition was false."""


@dataclass(frozen=True, slots=True)
class Slept:
    """The handler is to be called again at ``until``."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaits:
    """The step waits for something from outside: an event, answers or a called run, up to ``until``."""

    waiting_for: WaitingFor
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No handler of that type in this process: another worker may know it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """``for_each`` gave a list of ``count`` items."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erred:
    """The attempt failed. ``names`` are what the error answers to, nearest class first."""

    type: str
    message: str
    names: tuple[str, ...]
    permanent: bool = False
    retry_after: timedelta | None = None
    # An action that was decided before, such as that of the first item that failed.
    action: str | None = None


Result = Finished | Passed | Slept | Awaits | Unknown | Spread | Erred

# What plan answers.


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMove:
    """What becomes of the step run that was executed."""

    status: StepStatus
    waiting_for: str = ""
    due_at: datetime | None = None
    current: bool = True
    postponed: int = 0
    # The failure was met by on_error: the run went on.
    handled: bool = False
    # Where the step would have jumped to if the run were not ending: a retry of the run takes it up.
    leads_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """A step run to insert. ``due_at`` is None where it is not to be looked at by itself."""

    step: str
    status: StepStatus = StepStatus.PENDING
    waiting_for: str = ""
    due_at: datetime | None = None
    visit: int = 1
    index: int = -1
    attempt: int = 1
    counted_from: int = 1
    began: int = 0
    # The step run that this one undoes.
    undoes: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The final status the run heads for from now on, and why."""

    status: RunStatus
    error: str = ""
    error_type: str = ""
    has_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that one recording changes.

    ``skip``: existing rows that have not started and become skipped; ``retire``: steps whose rows stop being
    current, the live ones cancelled; ``settles``: nothing follows, so the run is over when no other step run
    is live.
    """

    row: RowMove = RowMove(status=StepStatus.DONE)
    create: tuple[NewRow, ...] = ()
    skip: tuple[str, ...] = ()
    retire: frozenset[str] = frozenset()
    jumps: Jumps | None = None
    ending: Ending | None = None
    failed_by: Erred | None = None

    @property
    def settles(self) -> bool:
        """Whether this recording leaves nothing of its own that is live."""
        live = [new for new in self.create if new.status not in FINAL_STEP]
        return self.row.status in FINAL_STEP and not live
