"""Times and durations for people."""

from __future__ import annotations

from datetime import datetime

from django.utils.formats import localize, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def show_time(at: datetime) -> str:
    """Return an aware time in the current zone, to the second, as the language writes it."""
    return str(localize(localtime(at).replace(microsecond=0, tzinfo=None)))


def seconds_taken(began: datetime | None, ended: datetime | None) -> float | None:
    """Return how long something took, in seconds; None for what has not begun, or not ended."""
    return None if began is None or ended is None else (ended - began).total_seconds()


def show_span(seconds: float) -> str:
    """Return a duration in one unit or two: ``350 ms``, ``4.2 s``, ``3 min 20 s``, ``3 d 4 h``."""
    seconds = max(seconds, 0.0)
    if round(seconds, 3) < 1:
        return _("%d ms") % round(seconds * 1000)
    if round(seconds, 1) < MINUTE:
        return _("%s s") % _write_tenths(seconds)
    if round(seconds) < HOUR:
        return _join(divmod(round(seconds), 60), _("%d min"), _("%d s"))
    if round(seconds / MINUTE) < DAY / MINUTE:
        return _join(divmod(round(seconds / MINUTE), 60), _("%d h"), _("%d min"))
    return _join(divmod(round(seconds / HOUR), 24), _("%d d"), _("%d h"))


def _write_tenths(seconds: float) -> str:
    tenths = round(seconds, 1)
    return number_format(tenths, decimal_pos=0 if tenths == int(tenths) else 1)


def _join(amounts: tuple[int, int], large: str, small: str) -> str:
    parts = (large % amounts[0], small % amounts[1] if amounts[1] else "")
    return " ".join(filter(None, parts))
