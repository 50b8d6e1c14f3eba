"""Which steps may share a commit with others, as far as this process knows (ENGINE.md rules 9 and 11)."""

from __future__ import annotations

import time

from ..registry import Handler

# A type whose last call took longer is claimed one at a time.
FAST = 0.05
# For how long a type is not shared after a round with it had to be undone, in seconds.
UNSHARED = 60.0

_seconds: dict[str, float] = {}
_unshared_until: dict[str, float] = {}


def may_share(handler: Handler | None) -> bool:
    """Return whether running the handler twice does no harm, and whether it was fast and good company."""
    if handler is None or not (handler.atomic or handler.idempotent):
        return False
    if is_slow(handler):
        return False
    return _unshared_until.get(handler.type, 0.0) <= time.monotonic()


def is_slow(handler: Handler) -> bool:
    """Return whether the last call of the type, in this process, took long."""
    return _seconds.get(handler.type, 0.0) >= FAST


def note_call(handler: Handler, seconds: float) -> None:
    """Remember how long the last call of a type took."""
    _seconds[handler.type] = seconds


def note_undone(handler: Handler) -> None:
    """Remember that a round was undone because of this type."""
    _unshared_until[handler.type] = time.monotonic() + UNSHARED
