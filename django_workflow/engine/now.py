"""The time by the database, carried on by the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from ..process import remembered

READ_AGAIN_AFTER = 20.0
# Each answer is late by its own time on the way. The time must not go back by that: a row that is ready now
# would not be due, and nobody would drive on with it.
NOISE = timedelta(seconds=1)
# In seconds. After a longer pause the time is not carried on, only read.
LONGEST_PAUSE = 86400.0

_SQL = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What the database answered, and the monotonic and the wall clock of this machine at that moment."""

    moment: datetime
    monotonic: float
    wall: float

    def passed(self) -> float | None:
        """Return how many seconds ago it was by the monotonic clock; None where that clock is not believed.

        It stands still while a machine is suspended, and a test tool that freezes the time lets it go back.
        The wall clock tells, which itself may be put right at any time.
        """
        passed = time.monotonic() - self.monotonic
        is_agreed = abs(time.time() - self.wall - passed) < NOISE.total_seconds()
        return passed if passed >= 0 and is_agreed else None

    def carried_on(self) -> datetime | None:
        """Return what the time should be now by the monotonic clock."""
        passed = time.monotonic() - self.monotonic
        return self.moment + timedelta(seconds=passed) if 0 <= passed < LONGEST_PAUSE else None


_read: dict[str, _Reading] = remembered({})
_held_at: datetime | None = None


def database_now(using: str) -> datetime:
    """Return the time of the database behind ``using``, aware; it is read again every 20 seconds.

    It is read at once where the clocks of this machine do not agree on how much time has passed. Leases and
    due times of many machines are compared with each other, so that none of their own clocks may count. In a
    test that holds the clock it stands still.
    """
    if _held_at is not None:
        return _held_at
    reading = _read.get(using)
    passed = None if reading is None else reading.passed()
    if reading is None or passed is None or passed > READ_AGAIN_AFTER:
        carried_on = None if reading is None else reading.carried_on()
        moment = _ask(using)
        if carried_on is not None and moment < carried_on < moment + NOISE:
            moment = carried_on
        _read[using] = _Reading(moment=moment, monotonic=time.monotonic(), wall=time.time())
        return moment
    return reading.moment + timedelta(seconds=passed)


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
