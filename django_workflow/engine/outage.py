"""A database that goes away, or answers too late, is not the handler's fault (ENGINE.md rule 19)."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from .claim import Claim
from .give_back import give_back

logger = logging.getLogger("django_workflow")


class NotRecorded(Exception):
    """The database could not be asked or written to: nothing is known but what its rows say."""


def is_lost(using: str, before: Any = None) -> bool:
    """Return whether the connection is gone, or is another one than ``before``."""
    connection = connections[using]
    raw = connection.connection
    if raw is None or (before is not None and raw is not before):
        return True
    is_closed = getattr(raw, "closed", None)
    return bool(is_closed) if is_closed is not None else not connection.is_usable()


def forget(using: str, claims: Iterable[Claim], *, patience: timedelta) -> None:
    """Make ready again what was not recorded of ``claims``, as soon as the database can be reached.

    After ``patience`` it is left to the clock, which takes it up when the leases have expired.
    """
    left, until = list(claims), time.monotonic() + patience.total_seconds()
    while left:
        try:
            claim = left[-1]
            give_back(using, claim.run.pk, claim.step_run.pk, claim.token)
            left.pop()
        except (OperationalError, InterfaceError) as error:
            close(using)
            if time.monotonic() > until:
                logger.error(
                    "Database %r cannot be reached; leases are left to expire: %s", using, error
                )
                return
            time.sleep(random.uniform(0.1, 0.5))


def close(using: str) -> None:
    """Close the connection; the next query opens another."""
    with suppress(DatabaseError):
        connections[using].close()
