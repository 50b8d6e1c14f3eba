"""What a handler is told of the event that woke it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..codec import decode, load
from ..context import Event
from ..models import Run, StepRun
from .waits import CHILD


def event_for(row: StepRun, using: str) -> Event | None:
    """Return the event that woke the step, with model references as instances; None where none did."""
    if row.event is None:
        return None
    name = row.event["name"]
    payload = _result_of(row, using) if name == CHILD else row.event["payload"]
    at = datetime.fromisoformat(row.event["at"])
    return Event(name=name, payload=load(decode(payload, using=using)), at=at)


def _result_of(row: StepRun, using: str) -> dict[str, Any]:
    """Return how the called run ended, read fresh: its output is not copied; no status where it is gone."""
    fields = ("status", "output", "error", "error_type")
    runs = Run.objects.using(using).filter(callers=row.pk)
    run = runs.values(*fields).first()
    return {"run": str(row.child_id), **(run or dict.fromkeys(fields))}
