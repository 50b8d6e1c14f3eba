"""What came before the deadline of a wait was taken up: it counts (ENGINE.md rule 8)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from ..models import Run, StepRun
from ..status import FINAL_RUN
from .claim import Claim, lock_claim, unlock
from .events import take_stored
from .gate import StaleClaim
from .now import database_now
from .turns import writing
from .waits import CHILD, event_of


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


def _came(using: str, row: StepRun, now: datetime) -> dict[str, Any] | None:
    if row.awaits and "events" in row.awaits:
        return take_stored(using, row)
    if row.child_id is None:
        return None
    is_over = Run.objects.using(using).filter(pk=row.child_id, status__in=FINAL_RUN).exists()
    return event_of(CHILD, now) if is_over else None
