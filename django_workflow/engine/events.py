"""Events in store, given to the steps that wait for them (ENGINE.md rules 13 and 34)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from ..models import Event, EventQuerySet, Run, StepRun
from ..status import RunStatus, StepStatus, WaitingFor

BATCH = 500


def give_out(using: str, run: Run, now: datetime) -> list[StepRun]:
    """Give the events in store of a locked run to the steps that wait for them; return these, ready.

    The oldest event goes to the step that has waited longest; shared waits read it before.
    """
    _adopt(using, run)
    events = Event.objects.using(using).filter(run=run)
    if run.is_final or run.ending:
        events.filter(is_new=True).update(is_new=False)
        return []
    waiting = StepRun.objects.using(using).filter(
        run=run, status=StepStatus.WAITING, waiting_for=WaitingFor.EVENT
    )
    rows = {row.pk: row for row in waiting.order_by("number", "id")}
    names = {name for row in rows.values() for name in (row.awaits or {})["events"]}
    woken: list[StepRun] = []
    for event in events.untaken().filter(name__in=names).order_by("id") if names else ():
        given = _give(using, event, rows.values())
        woken += [rows.pop(row.pk) for row in given]
    events.filter(is_new=True).update(is_new=False)
    if woken:
        _make_ready(using, run, woken, now)
    return woken


def take_stored(using: str, row: StepRun) -> dict[str, Any] | None:
    """Take the oldest event in store that ``row`` waits for, under its run's lock, and return it."""
    _adopt(using, row.run)
    awaits = row.awaits or {}
    events = Event.objects.using(using).filter(run=row.run_id, name__in=awaits["events"]).untaken()
    event = next((each for each in events.order_by("id") if _is_unread(each, row)), None)
    if event is None:
        return None
    _take(using, event, row)
    StepRun.objects.using(using).filter(pk=row.pk).update(awaits=row.awaits)
    return row.event


def _give(using: str, event: Event, rows: Iterable[StepRun]) -> list[StepRun]:
    """Give one event to those that share it, and to the first that does not; return them."""
    fitting = [row for row in rows if event.name in (row.awaits or {})["events"] and _is_unread(event, row)]
    sharing = [row for row in fitting if row.awaits and row.awaits["shared"]]
    given = [*sharing, *[row for row in fitting if row not in sharing][:1]]
    for row in given:
        _take(using, event, row)
    return given


def _is_unread(event: Event, row: StepRun) -> bool:
    read = (row.awaits or {}).get("read")
    return read is None or event.pk > UUID(read)


def _take(using: str, event: Event, row: StepRun) -> None:
    row.event = {"name": event.name, "payload": event.payload, "at": event.at.isoformat()}
    if row.awaits and row.awaits["shared"]:
        # It stays in store for others; this step run does not read it again.
        row.awaits = {**row.awaits, "read": str(event.pk)}
    else:
        Event.objects.using(using).filter(pk=event.pk).update(taken_by=row.pk)


def _make_ready(using: str, run: Run, woken: list[StepRun], now: datetime) -> None:
    is_paused = run.status == RunStatus.PAUSED
    for row in woken:
        row.status, row.waiting_for = StepStatus.PENDING, ""
        row.due_at = None if is_paused else now
    fields = ["status", "waiting_for", "due_at", "event", "awaits"]
    StepRun.objects.using(using).bulk_update(woken, fields, batch_size=BATCH)
    if not is_paused:
        run.status = RunStatus.RUNNING
        run.save(using=using, update_fields=["status"])


def _adopt(using: str, run: Run) -> None:
    """Let the events that came by key, before the run did, be the run's."""
    if run.key is None:
        return
    early = sent_by_key(using, run)
    ids = set(early.exclude(event_id=None).values_list("event_id", flat=True))
    if ids:
        known = (
            Event.objects.using(using).filter(run=run, event_id__in=ids).values_list("event_id", flat=True)
        )
        early.filter(event_id__in=list(known)).delete()
    early.update(run=run, workflow=None, key=None)


def sent_by_key(using: str, run: Run) -> EventQuerySet:
    """The events that were sent to the run by its key before it was there."""
    if run.key is None:
        return Event.objects.using(using).none()
    return Event.objects.using(using).filter(workflow=run.workflow_id, key=run.key, run=None)
