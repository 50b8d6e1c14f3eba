"""Recovery: what a dead worker left behind is made ready again, never executed.

Only clocks do this, because only a process that lives on knows how long it was in touch with the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from django.db import Error, transaction

from ..conf import get_settings
from ..dispatch import ring_after_commit
from ..models import Run, StepRun, StepRunQuerySet
from ..status import RunStatus, StepStatus
from . import in_touch
from .gate import StaleClaim
from .give_back import RunIsBusy, close_unfinished, lock_if_free, may_run_again, ready_values
from .live_queues import live_queues
from .now import database_now

logger = logging.getLogger("django_workflow")

# How many step runs one call recovers at most.
BATCH = 500


def recover_expired(using: str, *, pause: Callable[[float], bool] | None = None) -> int:
    """Make the step runs ready again whose lease has expired; return how many.

    Does nothing before this process was in touch with the database for a renewal interval, 20 seconds by
    default: after an outage the living renew first. A process that ticks once gives ``pause``, which sleeps
    for so many seconds and returns whether to stop: where a lease has expired it waits for that interval.
    """
    while expired := _expired(using):
        if in_touch.is_in_touch(using):
            return _recover(using, expired, "its lease has expired")
        if pause is None or pause(in_touch.renewal_interval() / 10):
            return 0
    return 0


def recover_worker(using: str, name: str) -> int:
    """Make ready again what the process ``name``, a ``worker_name``, held; return how many.

    It is known to be dead: its leases need not expire.
    """
    held = _running(using).filter(worker=name)
    return _recover(using, list(held[:BATCH]), "its worker died")


def _expired(using: str) -> list[StepRun]:
    try:
        now = database_now(using)
        # Queue by queue, as the index has them.
        found = [_running(using).filter(queue=queue, due_at__lte=now) for queue in live_queues(using)]
        rows = [row for each in found for row in each.order_by("due_at")[:BATCH]]
    except Error:
        in_touch.lose(using)
        raise
    in_touch.note(using)
    return rows


def _running(using: str) -> StepRunQuerySet:
    rows = StepRun.objects.using(using).live().filter(status=StepStatus.RUNNING)
    return rows.only("run_id", "step", "index", "queue", "worker", "lease_token", "due_at")


def _recover(using: str, rows: Iterable[StepRun], reason: str) -> int:
    queues, count = set(), 0
    for row in rows:
        with suppress(StaleClaim, RunIsBusy):
            if _make_ready(using, row):
                queues.add(row.queue)
            text = "Step %s of run %s, begun by %s, is taken up again: %s."
            logger.warning(text, row, row.run_id, row.worker, reason)
            count += 1
    ring_after_commit(using, queues)
    return count


def _make_ready(using: str, read: StepRun) -> bool:
    """Recover one step run if it is as it was read; return whether it is ready now."""
    with transaction.atomic(using=using):
        run = lock_if_free(using, read.run_id)
        guarded = StepRun.objects.using(using).filter(
            pk=read.pk, status=StepStatus.RUNNING, lease_token=read.lease_token, due_at=read.due_at
        )
        row = guarded.first()
        if row is None or run.is_final:
            raise StaleClaim
        now = database_now(using)
        if run.ending and row.undoes_id is None:
            close_unfinished(run, row, now, using)
            return False
        crashes = row.crashes + _has_crashed(run, row, now, using)
        guarded.update(**ready_values(run, now), solo=True, crashes=crashes)
    return run.status != RunStatus.PAUSED


def _has_crashed(run: Run, row: StepRun, now: datetime, using: str) -> bool:
    """Whether the crash counts against the step: it had started, and ran alone.

    Any of several may have killed their worker; to find out which, each is claimed alone from now on. A
    database that went away is not the step's fault, but what must not run twice has to be called interrupted.
    """
    if row.started_at is None or not may_run_again(run, row, using):
        return row.started_at is not None
    return row.solo and not _was_outage_since_renewal(row, now, using)


def _was_outage_since_renewal(row: StepRun, now: datetime, using: str) -> bool:
    if row.lease_until is None:
        return False
    since_renewal = (now - (row.lease_until - get_settings().LEASE)).total_seconds()
    return in_touch.seconds_since_outage(using) < since_renewal
