"""Sending events: stored in the sender's transaction, heard after its commit."""

from __future__ import annotations

import logging
import random
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ..codec import check_size, encode
from ..conf import get_settings
from ..models import Event, Run, Workflow
from ..outcomes import MAX_EVENT_NAME
from ..status import FINAL_RUN
from ..storable import is_storable_text
from .events import give_out, sent_by_key
from .gate import StaleClaim
from .give_back import RunIsBusy, lock_if_free
from .hand_over import hand_over
from .now import database_now
from .orders import check_key
from .verbs import note_action

logger = logging.getLogger("django_workflow")

# How often a run that somebody else changes is tried before it is left to the clock.
TRIES = 4
# Who sent an event wakes the step; the clock does where that has not happened for so long.
UNHEARD_AFTER = timedelta(seconds=1)
BATCH = 500


def send_to_run(
    using: str,
    run_id: UUID,
    name: str,
    payload: Any,
    *,
    event_id: str | None,
    by: AbstractBaseUser | None = None,
    note: str = "",
) -> bool:
    """Store an event for a run, in the caller's transaction; wake who waits for it after the commit.

    Who sent it is noted with the run. Returns False where the run is final: then nothing is stored. The same
    ``event_id`` counts once. Raises ``NotStorable``, ``TooLarge`` and ``ValueError``.
    """
    event = _make(using, name, payload, event_id)
    run = Run.objects.using(using).filter(pk=run_id).only("status", "key", "workflow_id").first()
    if run is None or run.status in FINAL_RUN:
        return False
    sent = (sent_by_key(using, run), Event.objects.using(using).filter(run=run_id))
    if event_id is None or not any(events.filter(event_id=event_id).exists() for events in sent):
        event.run_id = run_id
        with transaction.atomic(using=using):
            _insert(using, event)
            note_action(run, "event", event.at, using, by=by, note=note or name)
    transaction.on_commit(lambda: wake(using, run_id), using=using, robust=True)
    return True


def send_to_key(
    using: str, workflow: Workflow, key: str, name: str, payload: Any, *, event_id: str | None
) -> bool:
    """Store an event for the run with that key, as ``send_to_run`` does.

    Where there is no such run yet, the event is kept for it. Raises ``ValueError`` for what is no key, too.
    """
    check_key(key)
    run_id = _run_with(using, workflow.pk, key)
    if run_id is not None:
        return send_to_run(using, run_id, name, payload, event_id=event_id)
    event = _make(using, name, payload, event_id)
    event.workflow_id, event.key = workflow.pk, key
    _insert(using, event)
    transaction.on_commit(lambda: _hear(using, event), using=using, robust=True)
    return True


def wake(using: str, run_id: UUID) -> bool:
    """Give the events in store to the steps of a run that wait for them; return whether one was woken.

    A run that somebody else holds locked is left to the clock.
    """
    for _ in range(TRIES):
        try:
            with transaction.atomic(using=using):
                run = lock_if_free(using, run_id)
                woken = give_out(using, run, database_now(using))
                if woken:
                    hand_over([run], woken, using=using)
                return bool(woken)
        except RunIsBusy:
            time.sleep(random.uniform(0.01, 0.05))
        except StaleClaim:
            break
    return False


def wake_unheard(using: str) -> int:
    """Do what the senders of events could not: wake the steps that wait for them; return how many runs."""
    long_ago = database_now(using) - UNHEARD_AFTER
    unheard = Event.objects.using(using).filter(is_new=True, at__lte=long_ago).order_by("id")[:BATCH]
    count, seen = 0, set[UUID]()
    for event in unheard:
        if event.run_id is None:
            count += _hear(using, event)
        elif event.run_id not in seen:
            seen.add(event.run_id)
            count += wake(using, event.run_id)
    return count


def _hear(using: str, event: Event) -> bool:
    """Look, after the commit, whether an event by key has a run by now; return whether a step was woken."""
    assert event.workflow_id is not None
    assert event.key is not None
    run_id = _run_with(using, event.workflow_id, event.key)
    if run_id is not None:
        return wake(using, run_id)
    # The run finds it when it waits.
    Event.objects.using(using).filter(pk=event.pk).update(is_new=False)
    return False


def _run_with(using: str, workflow_id: int, key: str) -> UUID | None:
    runs = Run.objects.using(using).filter(workflow=workflow_id, key=key)
    return runs.values_list("pk", flat=True).first()


def _make(using: str, name: str, payload: Any, event_id: str | None) -> Event:
    for what, text in (("event's name", name), ("id", event_id)):
        if text is None and what == "id":
            continue
        if not isinstance(text, str) or not 0 < len(text) <= MAX_EVENT_NAME or not is_storable_text(text):
            raise ValueError(f"an {what} is text of 1 to {MAX_EVENT_NAME} characters, not {text!r:.80}")
    encoded = encode(payload, "payload", using=using)
    # A step that waits gives the payload with its name.
    check_size({"event": name, "payload": encoded}, "payload", get_settings().MAX_BYTES)
    return Event(name=name, event_id=event_id, payload=encoded, at=database_now(using))


def _insert(using: str, event: Event) -> None:
    Event.objects.using(using).bulk_create([event], ignore_conflicts=event.event_id is not None)
