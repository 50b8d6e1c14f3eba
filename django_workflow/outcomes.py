"""What a handler may return beside a plain value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

MAX_EVENT_NAME = 255


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on at the step named ``step``: forward it skips, backward it loops.

    ``output`` is this step's output.
    """

    step: str
    output: Any = None


@dataclass(frozen=True, slots=True)
class End:
    """End the run early, as done, with ``output`` as the run's output."""

    output: Any = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Call the handler again after a ``timedelta`` or at an aware ``datetime``.

    The same attempt, ``context.event`` set.
    """

    until: timedelta | datetime

    def __post_init__(self) -> None:
        if isinstance(self.until, datetime) and self.until.tzinfo is None:
            raise ValueError(
                f"Sleep({self.until!r}) needs an aware datetime: see django.utils.timezone.make_aware()."
            )
        if not isinstance(self.until, (timedelta, datetime)):
            raise TypeError(f"Sleep takes a timedelta or an aware datetime, not {type(self.until).__name__}.")


@dataclass(frozen=True, slots=True)
class WaitForEvent:
    """Call the handler again when an event of that name comes, or the first of several names.

    The same attempt; ``context.event`` is the event, named ``timeout`` when none came within ``timeout`` (a
    ``timedelta``). ``shared``: other waits for the event get it as well. An attempt that fails gives the
    event back, so that a retry has it again at once; without ``requeue`` it is used up, and the retry waits
    for a new one.
    """

    name: str | Sequence[str]
    timeout: timedelta | None = None
    shared: bool = field(default=False, kw_only=True)
    requeue: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        names = self.names
        if not names or not all(isinstance(name, str) and 0 < len(name) <= MAX_EVENT_NAME for name in names):
            raise ValueError(
                f"WaitForEvent({self.name!r:.80}) needs names of 1 to {MAX_EVENT_NAME} characters."
            )
        if self.timeout is not None and not isinstance(self.timeout, timedelta):
            raise TypeError(f"WaitForEvent takes a timedelta as timeout, not {type(self.timeout).__name__}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the events, of which the first to come wakes the step."""
        return (self.name,) if isinstance(self.name, str) else tuple(self.name)


# What only our own step types return.


@dataclass(frozen=True, slots=True, kw_only=True)
class AskApproval:
    """Wait until people have answered: ``count`` approvals, or one rejection.

    One of ``permission``, ``group`` and ``users`` (by primary key, as text: the name that a step run keeps)
    says who may; ``askers`` may not, unless ``allow_self``. The handler is called again with the event
    ``approved`` or ``rejected``, whose payload is ``flow.approval``'s output.
    """

    permission: str | None = None
    group: str | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    allow_self: bool = False
    askers: Sequence[str] = ()
    form: Mapping[str, Any] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWorkflow:
    """Start a run of ``workflow``; with ``wait`` the handler is called again with the event ``child``.

    Its payload is ``{"run": id, "status": …, "output": …, "error": …, "error_type": …}``. Without ``wait``
    the step is done, and its output is the id.
    """

    workflow: str
    input: Mapping[str, Any] = field(default_factory=dict)
    wait: bool = True
    key: str | None = None
