"""What a handler says while it runs: its progress and log lines, which renewals of its lease write."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..context import Hooks
from ..elapsed import is_recent
from ..registry import Handler
from .report import progress_of
from .secrecy import secrets_of, star

# In seconds: the shortest time between two writes for one step.
EVERY = 1.0


Mark = tuple[int, tuple[float, float] | None]


@dataclass(slots=True, kw_only=True, eq=False)
class News:
    """What one call has said so far; ``earlier`` are the log lines of the calls before it.

    The handler's thread adds to ``hooks`` while the lease thread reads it.
    """

    hooks: Hooks
    handler: Handler
    arguments: dict[str, Any]
    earlier: Sequence[str]
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
        secrets = secrets_of(self.handler, self.arguments)
        values: dict[str, Any] = {}
        if lines := list(self.hooks.lines):
            values["logs"] = [*self.earlier, *(star(line, secrets) for line in lines)]
        if (progress := progress_of(self.hooks)) is not None:
            values["progress"] = progress
        return values

    def note_written(self) -> None:
        """Note that what was read last is committed."""
        self.written, self.written_at = self.read, time.monotonic()

    def _mark(self) -> Mark:
        return len(self.hooks.lines), self.hooks.done_of_total
