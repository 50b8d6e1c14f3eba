"""The time by the database, carried on by the monotonic clock (ENGINE.md rule 17)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from ..process import remembered

READ_AGAIN_AFTER = 20.0
# Each answer is late by its own time on the way. The time must not go back by that: a row that is ready now
# would not be due, and nobody would drive on with it.
NOISE = timedelta(seconds=1)

_SQL = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
}
_read: dict[str, tuple[datetime, float]] = remembered({})
_held_at: datetime | None = None


def database_now(using: str) -> datetime:
    """Return the time of the database behind ``using``, aware; it is read again every 20 seconds.

    Leases and due times of many machines are compared with each other, so that none of their own clocks may
    count. In a test that holds the clock it stands still.
    """
    if _held_at is not None:
        return _held_at
    moment, at = _read.get(using, (None, 0.0))
    passed = time.monotonic() - at
    if moment is None or passed > READ_AGAIN_AFTER:
        carried_on = moment and moment + timedelta(seconds=passed)
        moment, at, passed = _ask(using), time.monotonic(), 0.0
        if carried_on is not None and moment < carried_on < moment + NOISE:
            moment = carried_on
        _read[using] = (moment, at)
    return moment + timedelta(seconds=passed)


@contextmanager
def held_clock(moment: datetime) -> Iterator[None]:
    """Let the time of every database be ``moment`` in the body: for tests."""
    set_clock(moment)
    try:
        yield
    finally:
        set_clock(None)


def set_clock(moment: datetime | None) -> None:
    """Hold the clock at ``moment``, or let it go on with None."""
    global _held_at
    _held_at = moment


def _ask(using: str) -> datetime:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_SQL.get(connection.vendor, "SELECT statement_timestamp()"))
        value = cursor.fetchone()[0]
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (
        timezone.make_aware(moment, timezone.get_fixed_timezone(0)) if timezone.is_naive(moment) else moment
    )
