"""What a handler is told of the event that woke it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..codec import decode, load
from ..context import Event
from ..models import Run, StepRun
from .waits import CHILD, is_ours

_ENDED_AS = ("status", "output", "error", "error_type")
_CHILD = StepRun._meta.get_field("child")


def event_for(row: StepRun, using: str) -> Event | None:
    """Return the event that woke the step, with model references as instances; None where none did."""
    if row.event is None:
        return None
    name = row.event["name"]
    payload = _result_of(row, using) if is_ours(row.event, CHILD) else row.event["payload"]
    at = datetime.fromisoformat(row.event["at"])
    return Event(name=name, payload=load(decode(payload, using=using)), at=at)


def _result_of(row: StepRun, using: str) -> dict[str, Any]:
    """Return how the called run ended, read fresh: its output is not copied; no status where it is gone."""
    run = called_run(row, using)
    return {"run": str(row.child_id), **{name: getattr(run, name, None) for name in _ENDED_AS}}


def called_run(row: StepRun, using: str) -> Run | None:
    """Return the run that the step called, as far as its end goes; None where it is gone."""
    if _CHILD.is_cached(row):
        return row.child
    return Run.objects.using(using).filter(callers=row.pk).only(*_ENDED_AS).first()


def read_called_runs(rows: Iterable[StepRun], using: str) -> None:
    """Read at once the runs whose ends woke these steps, which are about to be called."""
    woken = [row for row in rows if row.child_id is not None and is_ours(row.event, CHILD)]
    if woken:
        runs = Run.objects.using(using).only(*_ENDED_AS).in_bulk([row.child_id for row in woken])
        for row in woken:
            if row.child_id in runs:
                row.child = runs[row.child_id]
