"""Between runs and the runs they called: ends go up, cancels go down (ENGINE.md rule 33).

Each run is changed in a transaction of its own; what a crash leaves out the clock repeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from ..exceptions import VerbRefused
from ..models import Run, RunQuerySet, StepRun, StepRunQuerySet
from ..signals import run_finished
from ..status import FINAL_RUN, RunStatus, StepStatus, WaitingFor
from . import control
from .gate import StaleClaim, lock_run
from .hand_over import hand_over
from .now import database_now
from .retry import RETRY_CHILD, retry
from .telling import calls_ended
from .waits import CHILD, event_of

logger = logging.getLogger("django_workflow")

# In seconds: how often one clock looks for what a crash left out.
EVERY = 10.0
BATCH = 500
# A map over thousands of called runs is cancelled by the clock, but for the first of them.
AT_ONCE = 200
# A step that ended so no longer waits for what it called.
LEFT = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED)

_swept: dict[str, float] = {}


def connect() -> None:
    """Let ends go up and cancels go down, from now on."""
    run_finished.connect(_on_run_finished, dispatch_uid="django_workflow.callers.up")
    calls_ended.connect(_on_calls_ended, dispatch_uid="django_workflow.callers.down")


def wake_callers(using: str, child_id: UUID) -> int:
    """Let the steps that wait for a run go on, where it is final; return how many runs have such steps."""
    waiting = _waiting(using).filter(child=child_id)
    if waiting.filter(event__name=RETRY_CHILD).exists():
        _retry_child(using, child_id)
    callers = waiting.order_by("run").values_list("run", flat=True).distinct()
    return sum(wake_caller(using, run_id) for run_id in list(callers))


def wake_caller(using: str, run_id: UUID) -> bool:
    """Let the steps of one run go on whose called runs are final; return whether there were any."""
    with suppress(StaleClaim), transaction.atomic(using=using):
        run = lock_run(using, run_id)
        rows = _waiting(using).filter(run=run)
        rows.filter(event__name=RETRY_CHILD).exclude(child__status__in=FINAL_RUN).update(event=None)
        over = rows.filter(_IS_OVER).annotate(child_status=F("child__status"))
        ended = [row for row in over if not _is_to_retry(row)]
        _make_ready(using, run, ended, database_now(using))
        return bool(ended)
    return False


def cancel_children(using: str, run_id: UUID) -> int:
    """Cancel what steps of a run called and no longer wait for; return how many."""
    return _cancel(using, _left(using).filter(parent__run=run_id).order_by("pk")[:AT_ONCE])


def repeat(using: str) -> int:
    """Do what a crash left out between a run and those that it called; return how many were moved."""
    now = time.monotonic()
    if now - _swept.get(using, -EVERY) < EVERY:
        return 0
    ended = _waiting(using).filter(_IS_OVER).order_by("run").values_list("run", flat=True).distinct()
    runs = list(ended[:BATCH])
    left = list(_left(using).order_by("pk")[:BATCH])
    if len(runs) < BATCH and len(left) < BATCH:
        _swept[using] = now
    for child_id in list(_to_retry(using)[:BATCH]):
        _retry_child(using, child_id)
    return sum(wake_caller(using, run_id) for run_id in runs) + _cancel(using, left)


_IS_OVER = Q(child=None) | Q(child__status__in=FINAL_RUN)


def _waiting(using: str) -> StepRunQuerySet:
    return StepRun.objects.using(using).filter(status=StepStatus.WAITING, waiting_for=WaitingFor.CHILD)


def _left(using: str) -> RunQuerySet:
    called = Run.objects.using(using).active().filter(ending="", parent__status__in=LEFT)
    return called.filter(parent__child=F("pk")).exclude(Exists(_waiting(using).filter(child=OuterRef("pk"))))


def _is_to_retry(row: Any) -> bool:
    is_asked_for = row.event is not None and row.event["name"] == RETRY_CHILD
    return bool(is_asked_for and row.child_status == RunStatus.FAILED)


def _to_retry(using: str) -> Any:
    rows = _waiting(using).filter(event__name=RETRY_CHILD, child__status=RunStatus.FAILED)
    return rows.values_list("child", flat=True)


def _make_ready(using: str, run: Run, rows: Sequence[StepRun], now: datetime) -> None:
    if not rows:
        return
    is_paused = run.status == RunStatus.PAUSED
    for row in rows:
        row.status, row.waiting_for = StepStatus.PENDING, ""
        row.due_at, row.event = None if is_paused else now, event_of(CHILD, now)
    fields = ["status", "waiting_for", "due_at", "event"]
    StepRun.objects.using(using).bulk_update(rows, fields, batch_size=BATCH)
    if not is_paused:
        run.status = RunStatus.RUNNING
        run.save(using=using, update_fields=["status"])
        hand_over([run], rows, using=using)


def _retry_child(using: str, child_id: UUID) -> None:
    child = Run.objects.using(using).filter(pk=child_id).first()
    if child is not None:
        # Refused where somebody was faster; what it has come to then counts.
        with suppress(VerbRefused):
            note = "what called it was retried"
            retry(child, using=using, by=None, note=note, wake=wake_callers)


def _cancel(using: str, children: Sequence[Run] | RunQuerySet) -> int:
    count = 0
    for child in children:
        with suppress(VerbRefused):
            control.cancel(child, using=using, by=None, note="what called it no longer waits for it")
            count += 1
    return count


def _on_run_finished(run: Run, **kwargs: object) -> None:
    if run.parent_id is not None or run.key is not None:
        wake_callers(run._state.db or "default", run.pk)


def _on_calls_ended(run: Run, **kwargs: object) -> None:
    cancel_children(run._state.db or "default", run.pk)
