"""Between runs and the runs they called: ends go up, cancels go down.

Each run is changed in a transaction of its own; what a crash leaves out the clock repeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, F, OuterRef, Q

from ..elapsed import is_recent
from ..exceptions import VerbRefused
from ..models import Run, RunQuerySet, StepRun, StepRunQuerySet
from ..process import remembered
from ..status import RunStatus, StepStatus, WaitingFor
from . import control
from .gate import StaleClaim, lock_run
from .give_back import RunIsBusy, lock_if_free
from .hand_over import hand_over
from .now import database_now
from .retry import RETRY_CHILD, retry
from .telling import calls_ended, run_ended
from .waits import CHILD, event_of, is_ours
from .waking import make_ready

logger = logging.getLogger("django_workflow")

# In seconds: how often one clock looks for what a crash left out.
EVERY = 10.0
BATCH = 500
# A map over thousands of called runs is cancelled by the clock, but for the first of them.
AT_ONCE = 200
# A step that ended so no longer waits for what it called.
LEFT = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED)

# Locks a run of an alias, and returns it as it is now.
Lock = Callable[[str, UUID], Run]

_swept: dict[str, float] = remembered({})
# When called runs ended whose callers know of it: by the wake-up of another that they had called.
_told: dict[UUID, datetime] = remembered({})
MOST_TOLD = 10_000


def connect() -> None:
    """Let ends go up and cancels go down, from now on."""
    run_ended.connect(_on_run_ended, dispatch_uid="django_workflow.callers.up")
    calls_ended.connect(_on_calls_ended, dispatch_uid="django_workflow.callers.down")


def wake_callers(using: str, child_id: UUID, *, lock: Lock = lock_run) -> int:
    """Let the steps that wait for a run go on, where it is final; return how many runs have such steps.

    ``lock``: how runs are locked; a clock does not wait for one that a handler holds.
    """
    waiting = list(_waiting(using).filter(child=child_id).order_by("run").values_list("run", "event"))
    is_asked_for = any(is_ours(event, RETRY_CHILD) for _run_id, event in waiting)
    refused = child_id if is_asked_for and not _retry_child(using, child_id, lock) else None
    callers = dict.fromkeys(run_id for run_id, _event in waiting)
    return sum(wake_caller(using, run_id, lock=lock, refused=refused) for run_id in callers)


def wake_caller(using: str, run_id: UUID, *, lock: Lock = lock_run, refused: UUID | None = None) -> bool:
    """Let the steps of one run go on whose called runs are final; return whether there were any.

    ``refused``: a called run that was to be retried, and cannot be.
    """
    with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
        run = lock(using, run_id)
        over = _with_child(_waiting(using).filter(_IS_OVER, run=run))
        ended = [row for row in over if row.child_id == refused or not _is_to_retry(row)]
        now = database_now(using)
        for row in ended:
            row.event = event_of(CHILD, now)
        if make_ready(run, ended, now, using):
            hand_over([run], ended, using=using)
        told = {row.child_id: row.child_ended for row in ended}
        transaction.on_commit(partial(_told.update, told), using=using)
        return bool(ended)
    return False


def cancel_children(using: str, run_id: UUID) -> int:
    """Cancel what steps of a run called and no longer wait for; return how many."""
    return _cancel(using, _left(using).filter(parent__run=run_id).order_by("pk")[:AT_ONCE])


def repeat(using: str) -> int:
    """Do what a crash left out between a run and those that it called; return how many were moved."""
    if is_recent(_swept.get(using), EVERY):
        return 0
    ended = _waiting(using).filter(_IS_OVER).order_by("run").values_list("run", flat=True).distinct()
    runs = list(ended[:BATCH])
    left = list(_left(using).order_by("pk")[:BATCH])
    if len(runs) < BATCH and len(left) < BATCH:
        _swept[using] = time.monotonic()
    to_retry = {row.child_id for row in _to_retry(using)[:BATCH] if _is_to_retry(row)}
    acts: list[Callable[[], int]] = [
        *(partial(wake_callers, using, child_id, lock=lock_if_free) for child_id in to_retry),
        *(partial(wake_caller, using, run_id, lock=lock_if_free) for run_id in runs),
        *(partial(_cancel_if_free, using, child) for child in left),
    ]
    return sum(map(_try, acts))


_IS_OVER = Q(child=None) | Q(child__finished_at__isnull=False)


def _waiting(using: str) -> StepRunQuerySet:
    return StepRun.objects.using(using).live().filter(waiting_for=WaitingFor.CHILD)


def _left(using: str) -> RunQuerySet:
    called = Run.objects.using(using).active().filter(ending="", parent__isnull=False)
    left = called.filter(parent__status__in=LEFT, parent__child=F("pk"))
    return left.exclude(Exists(_waiting(using).filter(child=OuterRef("pk"))))


def _with_child(rows: StepRunQuerySet) -> Any:
    return rows.annotate(child_status=F("child__status"), child_ended=F("child__finished_at"))


def _is_to_retry(row: Any) -> bool:
    """Whether the called run is as it was when the retry was asked for: having failed again it counts."""
    is_failed = row.child_status == RunStatus.FAILED and is_ours(row.event, RETRY_CHILD)
    return bool(is_failed and row.event["at"] == row.child_ended.isoformat())


def _to_retry(using: str) -> Any:
    waiting = _waiting(using).filter(child__isnull=False, child__status=RunStatus.FAILED)
    return _with_child(waiting.filter(event__name=RETRY_CHILD))


def _try(act: Callable[[], int]) -> int:
    """Do one thing of the clock's: what is broken there must not stop the others."""
    try:
        return int(act())
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("A run and one that it called cannot be brought together.")
        return 0


def _retry_child(using: str, child_id: UUID, lock: Lock) -> bool:
    """Retry a called run, where nobody has done so yet; return whether that was not refused."""
    try:
        with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
            child = lock(using, child_id)
            if any(_is_to_retry(row) for row in _to_retry(using).filter(child=child_id)):
                note = "what called it was retried"
                retry(child, using=using, by=None, note=note, wake=wake_callers)
    except VerbRefused:
        return False
    return True


def _cancel_if_free(using: str, child: Run) -> int:
    with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
        lock_if_free(using, child.pk)
        # Meanwhile a retry may have begun to wait for it.
        return _cancel(using, _left(using).filter(pk=child.pk))
    return 0


def _cancel(using: str, children: Sequence[Run] | RunQuerySet) -> int:
    count = 0
    for child in children:
        with suppress(VerbRefused):
            control.cancel(child, using=using, by=None, note="what called it no longer waits for it")
            count += 1
    return count


def _on_run_ended(run: Run, **kwargs: object) -> None:
    if len(_told) > MOST_TOLD:
        _told.clear()
    is_told = _told.pop(run.pk, None) == run.finished_at
    # Only a key leads others than its caller to a run, and a restart of what they had called.
    is_shared = run.key is not None or run.restarted_from_id is not None
    if is_shared or (run.parent_id is not None and not is_told):
        wake_callers(run._state.db or "default", run.pk)


def _on_calls_ended(run: Run, **kwargs: object) -> None:
    cancel_children(run._state.db or "default", run.pk)
