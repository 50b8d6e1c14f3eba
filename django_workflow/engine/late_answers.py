"""What came before the deadline of a wait was taken up: it counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from ..models import StepRun
from ..status import WaitingFor
from .claim import Claim, lock_claim, unlock
from .event_context import called_run
from .events import take_stored
from .gate import StaleClaim
from .moves import Awaits
from .now import database_now
from .report import Report
from .turns import writing
from .waits import CHILD, event_of, is_ours


def take_what_came(claim: Claim) -> None:
    """Let what was recorded before the deadline is taken up count: it wakes the step instead of the timeout.

    Raises ``StaleClaim`` when the step run is no longer ours.
    """
    try:
        with writing(claim.using), transaction.atomic(using=claim.using):
            lock_claim(claim)
            now, row = database_now(claim.using), claim.step_run
            came = _came(claim.using, row, now)
            if came is not None:
                mine = StepRun.objects.using(claim.using).filter(pk=row.pk, lease_token=claim.token)
                if not mine.update(event=came):
                    raise StaleClaim
                row.event = came
    except Exception:
        unlock(claim)
        raise
    claim.locked = False


def wait_on(claim: Claim) -> Report | None:
    """Return the report of a step whose called run goes on, though it had ended: somebody has retried it.

    None where it is to be called.
    """
    row = claim.step_run
    if not is_ours(row.event, CHILD) or not _goes_on(claim.using, row):
        return None
    until = (row.awaits or {}).get("until")
    deadline = None if until is None else datetime.fromisoformat(until)
    return Report(result=Awaits(waiting_for=WaitingFor.CHILD, until=deadline))


def _came(using: str, row: StepRun, now: datetime) -> dict[str, Any] | None:
    if row.awaits and "events" in row.awaits:
        return take_stored(using, row)
    if row.awaits and "count" in row.awaits:
        return None
    return None if _goes_on(using, row) else event_of(CHILD, now)


def _goes_on(using: str, row: StepRun) -> bool:
    run = called_run(row, using)
    return run is not None and not run.is_final
