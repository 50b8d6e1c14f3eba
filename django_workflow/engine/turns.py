"""Turns on a database between this process's recordings and its lease thread.

A courtesy that avoids deadlocks, and waiting for SQLite's one lock: nobody waits long for the other, and what
a deadlock undoes is repeated.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

# The longest that a recording waits for the lease thread, in seconds.
LONGEST_WAIT = 1.0

_recording: Counter[str] = Counter()
_renewing: set[str] = set()
_turns = threading.Condition()


def _begin_anew() -> None:
    """A forked process has none of its parent's threads, and its lock may have been taken."""
    global _turns
    _turns = threading.Condition()
    _recording.clear()
    _renewing.clear()


os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def writing(using: str) -> Iterator[None]:
    """Keep the lease thread from writing while the body does. Several threads may record at once."""
    with _turns:
        if using in _renewing:
            _turns.wait_for(lambda: using not in _renewing, timeout=LONGEST_WAIT)
        _recording[using] += 1
    try:
        yield
    finally:
        with _turns:
            _recording[using] -= 1


@contextmanager
def renewing(using: str) -> Iterator[bool]:
    """Keep recordings from beginning while the body renews; yields False when one is under way."""
    with _turns:
        is_free = not _recording[using]
        if is_free:
            _renewing.add(using)
    try:
        yield is_free
    finally:
        if is_free:
            with _turns:
                _renewing.discard(using)
                _turns.notify_all()
