"""What a handler may return beside a plain value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


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
