"""Giving a claim back: the step is ready again, at no cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from ..models import Run, StepRun
from ..status import RunStatus, StepStatus
from .endings import others_live
from .finish import finish
from .gate import StaleClaim, lock_run
from .now import database_now
from .programs import get_program
from .rows import handler_of
from .telling import tell_recorded


class RunIsBusy(Exception):
    """Another transaction holds the run's lock, perhaps for as long as a handler runs. Try again later."""


def give_back(
    using: str,
    run_id: UUID,
    step_run_id: UUID,
    token: UUID,
    *,
    waits: bool = True,
    has_crashed: bool = False,
) -> bool:
    """Make the step run that is claimed by ``token`` ready again; return whether it was.

    ``has_crashed``: at the cost of a crash where it ran alone, else it runs alone from now on. Not given back
    is what must not run twice and has started, what is of a run that is ending, and what was lost. Raises
    ``RunIsBusy``, unless it ``waits``.
    """
    try:
        with transaction.atomic(using=using):
            run = lock_run(using, run_id) if waits else lock_if_free(using, run_id)
            rows = StepRun.objects.using(using).filter(pk=step_run_id, run_id=run_id, lease_token=token)
            row = rows.filter(status=StepStatus.RUNNING).first()
            # What may have taken effect, and must not twice, is left to its expiry.
            if row is None or not may_run_again(run, row, using):
                raise StaleClaim
            if run.ending and row.undoes_id is None:
                close_unfinished(run, row, database_now(using), using)
                return False
            values = ready_values(run, row.created_at)
            if has_crashed:
                values |= {"solo": True, "crashes": row.crashes + row.solo}
            elif not (row.event or row.postponed or row.crashes):
                values["started_at"] = None  # By the claim. A jump skips what has not started.
            rows.update(**values)
            return run.status != RunStatus.PAUSED
    except StaleClaim:
        return False


def lock_if_free(using: str, run_id: UUID) -> Run:
    """Lock the run as ``lock_run`` does, or raise ``RunIsBusy`` at once where the database can tell.

    An atomic handler holds the lock while it runs; who has others to look after does not wait for it.
    """
    features = connections[using].features
    if features.has_select_for_update_skip_locked:
        run = Run.objects.using(using).filter(pk=run_id)
        free = run.select_for_update(skip_locked=True, no_key=features.has_select_for_no_key_update)
        if not free.values_list("pk", flat=True):
            raise RunIsBusy if run.exists() else StaleClaim
    return lock_run(using, run_id)


def ready_values(run: Run, due_at: datetime) -> dict[str, Any]:
    """Return the columns of a step run that was running, and is ready from ``due_at`` on."""
    return {
        "status": StepStatus.PENDING,
        "lease_token": None,
        "lease_until": None,
        # What came due during a pause happens at resume.
        "due_at": None if run.status == RunStatus.PAUSED else due_at,
    }


def close_unfinished(run: Run, row: StepRun, now: datetime, using: str) -> None:
    """Cancel a running step run of a run that is ending, under its lock.

    Nothing of the run starts again: it is final when nothing else of it runs.
    """
    values = {
        "status": StepStatus.CANCELLED,
        "lease_token": None,
        "lease_until": None,
        "due_at": None,
        "finished_at": now,
        "number": run.revision,
    }
    StepRun.objects.using(using).filter(pk=row.pk).update(**values)
    for name, value in values.items():
        setattr(row, name, value)
    if others_live(using, run.pk, [row.pk], running_only=True):
        tell_recorded(using, run, [row])
    else:
        finish(run, RunStatus(run.ending), now, using, [row])


def may_run_again(run: Run, row: StepRun, using: str) -> bool:
    """Whether the step may be executed (again): it has not started, or it does no harm."""
    if row.started_at is None:
        return True
    assert run.version_id is not None
    handler = handler_of(get_program(run.version_id, using), row.step)
    return handler is None or handler.rerun_after_crash
