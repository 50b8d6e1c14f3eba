"""What waited is ready: for an event, an answer, or the end of a called run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ..models import Run, StepRun
from ..status import RunStatus, StepStatus
from .statements import change


def make_ready(run: Run, rows: Sequence[StepRun], now: datetime, using: str) -> bool:
    """Make waiting step runs of a locked run ready, each with the event and the rest that it has in memory.

    Returns whether they may start: those of a paused run do when that is resumed.
    """
    is_paused = run.status == RunStatus.PAUSED
    values = {"status": StepStatus.PENDING, "waiting_for": "", "due_at": None if is_paused else now}
    changes: list[tuple[UUID, dict[str, Any]]] = []
    for row in rows:
        for name, value in values.items():
            setattr(row, name, value)
        changes.append((row.pk, {**values, "event": row.event, "awaits": row.awaits}))
    change(using, changes)
    if rows and not is_paused:
        run.status = RunStatus.RUNNING
        run.save(using=using, update_fields=["status"])
    return bool(rows) and not is_paused
