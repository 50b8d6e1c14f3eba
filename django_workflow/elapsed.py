"""How long ago a moment of the monotonic clock was."""

from __future__ import annotations

import time


def is_recent(moment: float | None, seconds: float) -> bool:
    """Return whether ``moment``, of the monotonic clock, was less than ``seconds`` ago; None never was.

    One that is still to come is not: a test tool that froze the time has let the clock go back.
    """
    return moment is not None and 0 <= time.monotonic() - moment < seconds
