"""Durations as people write them: ``30s``, ``5m``, ``2h``, ``3d``, or a number of seconds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TEXT = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([smhdw])?\s*", re.ASCII)
LONGEST = timedelta(days=36500)


def parse_duration(value: object) -> timedelta:
    """Return ``value`` (``timedelta``, ``"30s"`` or seconds) as a ``timedelta``, at most 100 years.

    Raises ``ValueError`` with a message for a person.
    """
    duration = _read(value)
    if not timedelta(0) <= duration <= LONGEST:
        raise ValueError(f"{value!r} is no duration between 0 and 100 years")
    return duration


def _read(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12:
        return timedelta(seconds=value)
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration: write 30s, 5m, 2h, 3d or a number of seconds")
    # Capped, because what overflows a timedelta is too long in any case.
    return timedelta(seconds=min(float(match[1]) * _UNITS[match[2] or "s"], 1e12))


def add_duration(moment: datetime, duration: timedelta) -> datetime:
    """Return ``moment`` plus ``duration``, which is cut to between nothing and 100 years."""
    return moment + min(max(duration, timedelta(0)), LONGEST)


def format_duration(duration: timedelta) -> str | int | float:
    """Return text that :func:`parse_duration` reads back (``"90s"``, ``"2h"``), or seconds with a fraction.

    >>> format_duration(timedelta(hours=2))
    '2h'
    """
    seconds = duration.total_seconds()
    if seconds != int(seconds):
        return seconds
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds) // _UNITS[unit]}{unit}"
    return f"{int(seconds)}s"
