"""A database that goes away, or answers too late, is not the handler's fault."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from ..dispatch import ring_after_commit
from ..elapsed import is_recent
from ..models import StepRun
from ..process import remembered
from ..status import StepStatus
from .claim import Claim
from .give_back import give_back
from .transactions import is_closed

logger = logging.getLogger("django_workflow")

# How PostgreSQL says that it ends a session, beside the class 08, and MySQL that it has ended one.
ENDED = {"57P01", "57P02", "57P03", "57P05", "2006", "2013", "2055"}
# Deadlock, serialization failure, lock timeout, of the same two.
PASSING = {"40P01", "40001", "55P03", "1205", "1213"}


# So often in one process, in so many seconds, a step loses its connection before that is its own doing.
LOSSES = 3
LOSSES_WITHIN = 3600.0
_losses: dict[UUID, list[float]] = remembered({})


class NotRecorded(Exception):
    """The database could not be asked or written to: nothing is known but what its rows say."""


def is_lost(using: str, error: Exception, before: Any = None) -> bool:
    """Return whether ``error`` came of a connection that is gone, or is another one than ``before``."""
    if is_closed(using):
        return False  # Closed by the handler, and not by the database.
    connection = connections[using]
    raw, code = connection.connection, _code(error)
    if raw is None or (before is not None and raw is not before) or code in ENDED or code.startswith("08"):
        return True
    closed = getattr(raw, "closed", None)
    return bool(closed) if closed is not None else not connection.is_usable()


def note_loss(step_run_id: UUID) -> bool:
    """Note that a handler lost its connection; return whether that may still be the database's doing."""
    _losses.setdefault(step_run_id, []).append(time.monotonic())
    for each, moments in list(_losses.items()):
        _losses[each] = [moment for moment in moments if is_recent(moment, LOSSES_WITHIN)]
        if not _losses[each]:
            _losses.pop(each, None)
    return len(_losses.get(step_run_id, ())) <= LOSSES


def forget_losses(step_run_id: UUID) -> None:
    """Note that a call ended with its connection in order: it is not the step that loses it."""
    _losses.pop(step_run_id, None)


def is_passing(error: Exception) -> bool:
    """Return whether ``error`` is a deadlock or a lock that took too long: repeated, the same may work."""
    return _code(error) in PASSING or "database is locked" in str(error)


def _code(error: Exception) -> str:
    cause = error.__cause__ or error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return str(code or (cause.args[0] if cause.args else ""))


def return_claims(
    using: str, claims: Iterable[Claim], *, patience: timedelta, has_crashed: bool = False
) -> None:
    """Make ready again what was not recorded of ``claims``, and what this process does not know it holds.

    What follows a step has its token: a commit may have taken place whose answer was lost. A database that is
    away for longer than ``patience`` leaves it to the clock, which takes it up when the leases have expired.
    """
    held = list(claims)
    rows = StepRun.objects.using(using).filter(run__in=[claim.run.pk for claim in held])
    _return(using, rows.filter(lease_token__in={claim.token for claim in held}), patience, has_crashed)


def return_token(using: str, token: UUID, *, patience: timedelta) -> None:
    """Make ready again what was claimed with ``token``, if anything was: the answer was lost."""
    _return(using, StepRun.objects.using(using).live().filter(lease_token=token), patience)


def _return(using: str, rows: Any, patience: timedelta, has_crashed: bool = False) -> None:
    until, has_reconnected = time.monotonic() + patience.total_seconds(), False
    while True:
        try:
            queues = {
                row.queue
                for row in rows.filter(status=StepStatus.RUNNING).only("run_id", "lease_token", "queue")
                if give_back(using, row.run_id, row.pk, row.lease_token, has_crashed=has_crashed)
            }
            ring_after_commit(using, queues)
            return
        except (OperationalError, InterfaceError) as error:
            close(using)
            if has_reconnected and time.monotonic() > until:
                logger.error("Database %r cannot be reached; leases are left to expire: %s", using, error)
                return
            if has_reconnected:
                time.sleep(random.uniform(0.1, 0.5))
            has_reconnected = True


def close(using: str) -> None:
    """Close the connection; the next query opens another."""
    with suppress(DatabaseError):
        connections[using].close()
