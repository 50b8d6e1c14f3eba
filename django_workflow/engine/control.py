"""What operators do to a run as a whole: cancel, pause, resume; and its deadline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ..exceptions import VerbRefused
from ..models import Run, StepRun
from ..status import RunStatus, StepStatus
from .gate import StaleClaim
from .give_back import RunIsBusy, lock_if_free
from .report import overdue
from .undo import has_begun
from .verbs import apply_verb, head_for, live_status, refuse_ending


def cancel(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """End a run as cancelled: what waits is cancelled, what runs is told.

    Raises ``VerbRefused`` for a final run.
    """
    return apply_verb("cancel", _cancel, run, using=using, by=by, note=note)


def pause(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """Let nothing more of a run start; what runs is finished and recorded, and timers count on.

    Raises ``VerbRefused`` for a run that is final, ending or paused.
    """
    return apply_verb("pause", _pause, run, using=using, by=by, note=note)


def resume(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """Let a paused run go on; what came due meanwhile happens now, its deadline too.

    Raises ``VerbRefused`` for a run that is not paused.
    """
    return apply_verb("resume", _resume, run, using=using, by=by, note=note)


def end_overdue(using: str, now: datetime) -> int:
    """End the runs whose deadline is over as failed with ``RunTimeout``; return how many.

    What came due during a pause happens at its end.
    """
    late = Run.objects.using(using).active().exclude(status=RunStatus.PAUSED)
    late = late.filter(ending="", deadline__lte=now)
    count = 0
    for run_id in list(late.order_by("deadline").values_list("pk", flat=True)[:500]):
        with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
            run = lock_if_free(using, run_id)
            is_standing = run.is_final or run.ending or run.status == RunStatus.PAUSED
            if not is_standing and _is_overdue(run, now):
                head_for(run, RunStatus.FAILED, now, using, overdue(run))
                count += 1
    return count


def _cancel(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    if run.is_final:
        raise VerbRefused(f"run {run.pk} is {run.status}: a final run cannot be cancelled.")
    if run.ending and has_begun(using, run):
        raise VerbRefused(f"run {run.pk} is being undone, which ends it: skip an undo that cannot be made.")
    head_for(run, RunStatus.CANCELLED, now, using)
    return ()


def _pause(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    refuse_ending(run, "paused")
    if run.status == RunStatus.PAUSED:
        raise VerbRefused(f"run {run.pk} is paused already: resume it to let it go on.")
    run.status = RunStatus.PAUSED
    run.save(using=using, update_fields=["status"])
    # Without a time to be looked at, or each claim would come across them for as long as the run is paused.
    StepRun.objects.using(using).filter(run=run, status=StepStatus.PENDING).update(due_at=None)
    return ()


def _resume(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    if run.status != RunStatus.PAUSED:
        raise VerbRefused(f"run {run.pk} is {run.status}: only a paused run is resumed.")
    if _is_overdue(run, now):
        head_for(run, RunStatus.FAILED, now, using, overdue(run))
        return ()
    live = StepRun.objects.using(using).live().filter(run=run)
    live.filter(status=StepStatus.PENDING).update(due_at=now)
    run.status = live_status(run, using)
    run.save(using=using, update_fields=["status"])
    return list(live.due(now).exclude(status=StepStatus.RUNNING))


def _is_overdue(run: Run, now: datetime) -> bool:
    return run.deadline is not None and run.deadline <= now
