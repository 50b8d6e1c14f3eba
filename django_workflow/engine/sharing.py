"""Which steps may share a claim or a commit, as far as this process knows."""

from __future__ import annotations

import time

from ..conf import get_settings
from ..elapsed import is_recent
from ..process import remembered
from ..registry import Handler

# A type whose last call took longer is claimed one at a time.
FAST = 0.05
# For how long a type is not shared after a round with it had to be undone, in seconds.
UNSHARED = 60.0

_seconds: dict[str, float] = remembered({})
_undone_at: dict[str, float] = remembered({})


def may_share(handler: Handler | None) -> bool:
    """Return whether running the handler twice does no harm, and whether it was fast and good company."""
    if handler is None or not (handler.atomic or handler.idempotent):
        return False
    if is_slow(handler):
        return False
    return not is_recent(_undone_at.get(handler.type), UNSHARED)


def shares_items(handler: Handler | None) -> bool:
    """Return whether items of one ``for_each`` are claimed and recorded together.

    Of a type that this process does not know yet one is called alone first: a slow one would keep from the
    others what it has claimed.
    """
    if handler is None or handler.atomic or handler.type not in _seconds:
        return False
    return may_share(handler)


def is_concurrent(handler: Handler | None) -> bool:
    """Return whether calls of the handler may wait beside others in one event loop."""
    if handler is None or not handler.is_async or handler.atomic:
        return False
    return get_settings().ASYNC_TOGETHER > 1


def is_slow(handler: Handler) -> bool:
    """Return whether the last call of the type, in this process, took long."""
    return _seconds.get(handler.type, 0.0) >= FAST


def note_call(handler: Handler, seconds: float) -> None:
    """Remember how long the last call of a type took."""
    _seconds[handler.type] = seconds


def note_undone(handler: Handler) -> None:
    """Remember that a round was undone because of this type."""
    _undone_at[handler.type] = time.monotonic()
