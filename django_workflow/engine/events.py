"""Events in store, given to the steps that wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from ..models import Event, EventQuerySet, Run, StepRun
from ..status import StepStatus, WaitingFor
from .waits import event_of
from .waking import make_ready

BATCH = 500


def give_out(using: str, run: Run, now: datetime) -> list[StepRun]:
    """Give the events in store of a locked run to the steps that wait for them; return these, ready.

    The oldest event goes to the step that has waited longest; shared waits read it before.
    """
    _adopt(using, run)
    events = Event.objects.using(using).filter(run=run)
    # Only what is looked at here is heard: a sender does not wait for the run's lock.
    heard = list(events.filter(is_new=True).values_list("pk", flat=True))
    woken = [] if run.is_final else _give_out(using, run, events)
    if heard:
        events.filter(pk__in=heard).update(is_new=False)
    if woken:
        make_ready(run, woken, now, using)
    return woken


def _give_out(using: str, run: Run, events: EventQuerySet) -> list[StepRun]:
    names = set(events.untaken().values_list("name", flat=True))
    if not names:
        # As at most waits that begin: they cost the same beside ten thousand others.
        return []
    waiting = StepRun.objects.using(using).filter(
        run=run, status=StepStatus.WAITING, waiting_for=WaitingFor.EVENT
    )
    rows = {
        row.pk: row
        for row in waiting.order_by("number", "id")
        if not names.isdisjoint((row.awaits or {})["events"])
    }
    woken: list[StepRun] = []
    for event in events.untaken().order_by("id") if rows else ():
        given = _give(using, event, rows.values())
        woken += [rows.pop(row.pk) for row in given]
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


def put_back(using: str, rows: Iterable[StepRun]) -> None:
    """Store again the events that these step runs took, for the attempts that follow and start over.

    A failed step run keeps an event that it was told to use up.
    """
    taken = [row.pk for row in rows if "events" in (row.awaits or {}) and not _has_used_up(row)]
    if taken:
        Event.objects.using(using).filter(taken_by__in=taken).update(taken_by=None)


def _has_used_up(row: StepRun) -> bool:
    return row.status != StepStatus.CANCELLED and (row.awaits or {}).get("requeue") is False


def _give(using: str, event: Event, rows: Iterable[StepRun]) -> list[StepRun]:
    """Give one event to those that share it, and to the first that does not; return them."""
    fitting = [row for row in rows if event.name in (row.awaits or {})["events"] and _is_unread(event, row)]
    sharing = [row for row in fitting if row.awaits and row.awaits["shared"]]
    given = [*sharing, *[row for row in fitting if row not in sharing][:1]]
    for row in given:
        _take(using, event, row)
    return given


def _is_unread(event: Event, row: StepRun) -> bool:
    return str(event.pk) not in (row.awaits or {}).get("read", ())


def _take(using: str, event: Event, row: StepRun) -> None:
    row.event = event_of(event.name, event.at, event.payload, sent=str(event.pk))
    if row.awaits and row.awaits["shared"]:
        # It stays in store for others; this step run does not read it again. By key, because of two events
        # the younger may be committed first.
        row.awaits = {**row.awaits, "read": [*row.awaits.get("read", ()), str(event.pk)]}
    else:
        Event.objects.using(using).filter(pk=event.pk).update(taken_by=row.pk)


def _adopt(using: str, run: Run) -> None:
    """Let the events that came by key, before the run did, be the run's."""
    if run.key is None:
        return
    early = sent_by_key(using, run)
    ids = dict(early.values_list("pk", "event_id"))
    if not ids:
        return
    sent_to_run = Event.objects.using(using).filter(run=run, event_id__in=set(ids.values()) - {None})
    early.filter(event_id__in=list(sent_to_run.values_list("event_id", flat=True))).delete()
    # Who sends the same id to the run right now does not wait for the run's lock, and looks again after it.
    with suppress(IntegrityError), transaction.atomic(using=using):
        early.filter(pk__in=list(ids)).update(run=run, workflow=None, key=None)


def sent_by_key(using: str, run: Run) -> EventQuerySet:
    """The events that were sent to the run by its key before it was there."""
    if run.key is None:
        return Event.objects.using(using).none()
    return Event.objects.using(using).filter(workflow=run.workflow_id, key=run.key, run=None)
