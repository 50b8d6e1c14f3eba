"""Deadlines around a handler call."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType


class DeadlinePassed(KeyboardInterrupt):
    """Raised in the handler by the alarm; no ``except Exception`` of the handler's swallows it.

    A KeyboardInterrupt, because psycopg cancels the query under way for nothing less (``Connection.wait``):
    its connection would stay busy, and its locks taken, after the step's end.
    """


@contextmanager
def deadline(limit: timedelta | None) -> Iterator[None]:
    """Raise ``DeadlinePassed`` in the body after ``limit``.

    At once in the main thread, elsewhere when the body returns.

    A timer that was set before is set again with what is left of it.
    """
    if limit is None:
        yield
        return
    begun = time.monotonic()
    if threading.current_thread() is threading.main_thread():
        with _alarm(limit.total_seconds()):
            yield
    else:
        yield
    if time.monotonic() - begun > limit.total_seconds():
        raise DeadlinePassed


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise DeadlinePassed

    begun = time.monotonic()
    earlier_handler = signal.signal(signal.SIGALRM, interrupt)
    earlier_left, earlier_interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:
            # The alarm may still go off on this very line.
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, earlier_handler)
        if earlier_left:
            left = max(earlier_left - (time.monotonic() - begun), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, earlier_interval)
