"""The time by the database, carried on by the monotonic clock (ENGINE.md rule 17)."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

READ_AGAIN_AFTER = 20.0

_SQL = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
}
_read: dict[str, tuple[datetime, float]] = {}


def database_now(using: str) -> datetime:
    """Return the time of the database behind ``using``, aware; it is read again every 20 seconds.

    Leases and due times of many machines are compared with each other, so that none of their own clocks may
    count.
    """
    moment, at = _read.get(using, (None, 0.0))
    passed = time.monotonic() - at
    if moment is None or passed > READ_AGAIN_AFTER:
        moment, at, passed = _ask(using), time.monotonic(), 0.0
        _read[using] = (moment, at)
    return moment + timedelta(seconds=passed)


def _ask(using: str) -> datetime:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_SQL.get(connection.vendor, "SELECT statement_timestamp()"))
        value = cursor.fetchone()[0]
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (
        timezone.make_aware(moment, timezone.get_fixed_timezone(0)) if timezone.is_naive(moment) else moment
    )
