"""What a handler says while it runs: its progress and log lines, which renewals of its lease write."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..context import Hooks
from ..elapsed import is_recent
from ..params.hidden import star
from .report import progress_of
from .secrecy import conceal_progress

# In seconds: the shortest time between two writes for one step.
EVERY = 1.0


Mark = tuple[int, tuple[float, float] | None]


@dataclass(slots=True, kw_only=True, eq=False)
class News:
    """What one call has said so far; ``earlier`` are the log lines of the calls before it.

    The handler's thread adds to ``hooks`` while the lease thread reads it.
    """

    hooks: Hooks
    earlier: Sequence[str]
    secrets: Sequence[str]
    # Gives what is hidden from log lines, as it is now.
    hidden: Callable[[], Sequence[str]]
    # The lines that were read so far, without either.
    starred: Sequence[str] = ()
    # How much of it was read last, and written last.
    read: Mark = (0, None)
    written: Mark = (0, None)
    written_at: float = -math.inf

    def is_due(self) -> bool:
        """Return whether there is something new, and the last write is long enough ago."""
        return self._mark() != self.written and not is_recent(self.written_at, EVERY)

    def columns(self) -> dict[str, Any]:
        """Return the columns to write."""
        self.read = self._mark()
        values: dict[str, Any] = {}
        if lines := list(self.hooks.lines):
            before = self.starred  # A heartbeat and the lease thread may both be here.
            self.starred = starred = [*before, *self._star(lines[len(before) :])]
            values["logs"] = [*self.earlier, *starred]
        if (progress := conceal_progress(progress_of(self.hooks), self.secrets)) is not None:
            values["progress"] = progress
        return values

    def note_written(self) -> None:
        """Note that what was read last is committed."""
        self.written, self.written_at = self.read, time.monotonic()

    def _star(self, lines: Sequence[str]) -> list[str]:
        # A handler can quote only what it has read before.
        hidden = self.hidden() if lines else ()
        return [star(star(line, self.secrets), hidden) for line in lines]

    def _mark(self) -> Mark:
        return len(self.hooks.lines), self.hooks.done_of_total
