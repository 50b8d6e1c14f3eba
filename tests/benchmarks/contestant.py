"""What takes part in a race: something that starts runs, and the worker process that ends them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

SIMPLE, FORKING, IDLE = "simple", "forking", "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One system, or one way of using it.

    ``start(tag, steps)`` starts a run of so many steps, whose last one sets the mark ``tag``. ``share`` says
    how many runs a turn has, so that the turns of all take about as long. ``worker``: the arguments to
    Python; contestants with the same ones share a process. ``put(tag)`` starts a run of one step where no
    worker looks. ``is_timed``: takes part in the race to the end.
    """

    name: str
    start: Callable[[str, int], object]
    worker: tuple[str, ...]
    share: float
    put: Callable[[str], object] | None = None
    needs_django: bool = False
    is_timed: bool = True

    @property
    def command(self) -> list[str]:
        """The command of the worker process."""
        return [sys.executable, *self.worker]
