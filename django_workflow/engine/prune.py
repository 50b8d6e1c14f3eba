"""Pruning: final runs that are old are deleted with all that belongs to them, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections, transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from ..models import BulkAction, BulkActionQuerySet, Event, EventQuerySet, Run, RunQuerySet, StepRun
from ..status import FINAL_RUN
from .now import database_now
from .outage import is_passing

# How many runs one transaction deletes.
BATCH = 500
# How often a batch is tried that meets a deadlock.
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows are gone, or would go: runs, events for runs that never came, finished bulk actions."""

    runs: int = 0
    events: int = 0
    bulk_actions: int = 0


def prune_runs(
    older_than: timedelta,
    *,
    workflow: str | None = None,
    using: str,
    tell: Callable[[int], None] = lambda count: None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Delete the final runs that finished longer ago than ``older_than``, of one ``workflow`` or of all.

    With them go their steps, events, answers and actions, and their keys are free. Kept is a run that a live
    step of another has called. Events that no run took in that time go too, and finished bulk actions where
    no workflow is named. Each batch is its own transaction; ``tell`` is called with the runs so far.
    """
    before = database_now(using) - older_than
    count, last = 0, None
    while not is_stopping():
        ids = _next_ids(using, before, workflow, last)
        if not ids:
            break
        count, last = count + _delete_patiently(using, ids, before), ids[-1]
        tell(count)
    return Pruned(
        runs=count,
        events=_delete_all(_old_events(using, before, workflow), is_stopping),
        bulk_actions=0 if workflow else _delete_all(_old_bulk_actions(using, before), is_stopping),
    )


def count_prunable(older_than: timedelta, *, workflow: str | None = None, using: str) -> Pruned:
    """Return what ``prune_runs`` would delete now."""
    before = database_now(using) - older_than
    return Pruned(
        runs=_prunable(using, before, workflow).count(),
        events=_old_events(using, before, workflow).count(),
        bulk_actions=0 if workflow else _old_bulk_actions(using, before).count(),
    )


def _prunable(using: str, before: datetime, workflow: str | None) -> RunQuerySet:
    # Also one that is ready, but has yet to read what its child gave.
    callers = StepRun.objects.using(using).live().filter(child=OuterRef("pk"))
    runs = Run.objects.using(using).filter(status__in=FINAL_RUN, finished_at__lt=before)
    runs = runs.exclude(Exists(callers))
    return runs if workflow is None else runs.filter(workflow__name=workflow)


def _next_ids(using: str, before: datetime, workflow: str | None, last: UUID | None) -> list[UUID]:
    runs = _prunable(using, before, workflow).order_by("pk")
    if last is not None:
        runs = runs.filter(pk__gt=last)
    return list(runs.values_list("pk", flat=True)[:BATCH])


def _delete_patiently(using: str, ids: list[UUID], before: datetime) -> int:
    for tries_left in reversed(range(TRIES)):
        try:
            return _delete(using, ids, before)
        except OperationalError as error:
            if not tries_left or not is_passing(error):
                raise
    return 0


def _delete(using: str, ids: list[UUID], before: datetime) -> int:
    """Delete what is still prunable of ``ids``; return how many runs that was."""
    with transaction.atomic(using=using):
        _lock(using, ids)
        still = list(_prunable(using, before, None).filter(pk__in=ids).values_list("pk", flat=True))
        # Without the columns that hold much: Django reads what it deletes.
        Run.objects.using(using).filter(pk__in=still).only("pk").delete()
        return len(still)


def _lock(using: str, ids: list[UUID]) -> None:
    """Let no verb bring one of these runs back to life meanwhile; those being changed are waited for."""
    runs = Run.objects.using(using).filter(pk__in=ids).order_by("pk")
    if connections[using].features.has_select_for_update:
        list(runs.select_for_update().values_list("pk", flat=True))
    else:
        # On SQLite the first write, whatever it is, keeps all others out.
        Run.objects.using(using).filter(pk=ids[0]).update(revision=F("revision"))


def _old_events(using: str, before: datetime, workflow: str | None) -> EventQuerySet:
    events = Event.objects.using(using).filter(run=None, at__lt=before)
    return events if workflow is None else events.filter(workflow__name=workflow)


def _old_bulk_actions(using: str, before: datetime) -> BulkActionQuerySet:
    return BulkAction.objects.using(using).filter(finished_at__lt=before)


def _delete_all(rows: QuerySet[Any], is_stopping: Callable[[], bool]) -> int:
    """Delete rows that nothing else hangs on; return how many."""
    count = 0
    while not is_stopping() and (ids := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])):
        rows.filter(pk__in=ids).delete()
        count += len(ids)
    return count
