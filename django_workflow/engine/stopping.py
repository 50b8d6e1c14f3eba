"""Tells the interrupt of a process that is to stop from the errors of its handlers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .deadline import DeadlinePassed

STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Signals:
    """Whether this process was told to stop since the outermost ``noting_signals`` began."""

    is_noting = False
    came = False


_signals = _Signals()


@contextmanager
def noting_signals() -> Iterator[None]:
    """Note in the body that the process is told to stop, by Ctrl-C or SIGTERM; its handlers act as ever.

    Without it a person's Ctrl-C could not be told from a handler that raises ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread() or _signals.is_noting:
        yield
        return
    _signals.is_noting, _signals.came = True, False
    found = {number: signal.getsignal(number) for number in STOPPING}
    noting = {number: _note_and(handler) for number, handler in found.items() if callable(handler)}
    for number, handler in noting.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        _signals.is_noting = False
        for number, handler in noting.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, found[number])


def is_interrupt(error: BaseException) -> bool:
    """Return whether ``error`` came of a signal that tells the process to stop, such as a person's Ctrl-C."""
    if not _signals.came or isinstance(error, DeadlinePassed):
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


def _note_and(handler: Any) -> Any:
    def note(number: int, frame: FrameType | None) -> None:
        _signals.came = True
        handler(number, frame)

    return note
