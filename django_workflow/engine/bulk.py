"""Bulk actions: one verb for many runs, a short transaction each.

Who does it holds the row by its ``due_at``, as a lease. A run and the note that it was done are one commit,
so that no run is done twice or left out, whoever dies or takes over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F

from ..asking import user_rows
from ..conf import get_settings
from ..dispatch import ring_for_bulk_after_commit
from ..exceptions import VerbRefused, WorkflowError
from ..models import BulkAction, Run, RunAction, StepRun
from ..status import RunStatus, StepStatus
from ..storable import clean_text
from .bulk_verbs import BULK_VERBS, BulkVerb, find_verb
from .gate import StaleClaim
from .give_back import RunIsBusy, lock_if_free
from .now import database_now
from .outage import is_passing
from .run_filters import RunFilters, read_filters, select_runs

logger = logging.getLogger("django_workflow")

# In seconds: how long one call goes on.
SLICE = 2.0
# How many runs are looked up at once.
BATCH = 50
# A bulk action is so many steps ahead of the workers, and not more: others have work for them, too.
AHEAD = 500
# Until then nobody goes on where it is ahead, or where the handler of the next run holds its lock.
BREATH = timedelta(seconds=0.5)
# The reasons of so many refusals are kept.
MOST_REFUSALS = 20
# So many runs are counted by what became of them, and so many tried out.
MOST_COUNTED = 10_000
MOST_REHEARSED = 1000
# How often a deadlock is met by doing the run again.
TRIES = 3


class _TakenOver(Exception):
    """Somebody else goes on with the bulk action by now."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Hold:
    """A bulk action that this process goes on with, as it read and claimed it."""

    using: str
    bulk: BulkAction
    verb: BulkVerb
    filters: RunFilters
    by: AbstractBaseUser | None


def start_bulk(
    verb: str,
    filters: RunFilters,
    *,
    by: AbstractBaseUser | None = None,
    note: str = "",
    arguments: Mapping[str, Any] | None = None,
    using: str,
) -> BulkAction:
    """Note that ``verb`` is to be done to all runs that now fit, and ring for it after the commit.

    Without ``status`` in the filters it is for the statuses that the verb allows. Inline, the clock does it,
    or who calls ``advance``. Raises ``ValueError`` for an unknown verb, or for the wrong arguments.
    """
    chosen = filters_for(verb, filters, arguments)
    total, now = select_runs(using, chosen).count(), database_now(using)
    newest = Run.objects.using(using).order_by("-pk").values_list("pk", flat=True).first() if total else None
    bulk = BulkAction.objects.using(using).create(
        verb=verb,
        filters=chosen.as_json(),
        arguments=dict(arguments or {}),
        by_id=None if by is None else by.pk,
        note=clean_text(note),
        total=total,
        until=newest,
        created_at=now,
        due_at=None if newest is None else now,
        finished_at=now if newest is None else None,
    )
    if newest is not None:
        ring_for_bulk_after_commit(using, bulk.pk)
    return bulk


def filters_for(verb: str, filters: RunFilters, arguments: Mapping[str, Any] | None = None) -> RunFilters:
    """Return the filters with the statuses that the verb is for, where they name none.

    Raises ``ValueError`` as ``start_bulk``.
    """
    found = find_verb(verb, arguments or {})
    statuses = filters.status or tuple(status.value for status in found.statuses)
    return read_filters({**filters.as_json(), "status": statuses})


def count_failed(using: str, bulk: BulkAction) -> int:
    """Return how many runs have failed, up to ``MOST_COUNTED``, though the verb was to bring them on."""
    verb = BULK_VERBS.get(bulk.verb)
    if verb is None or not verb.goes_on:
        return 0
    runs = Run.objects.using(using).filter(status=RunStatus.FAILED)
    return runs.filter(**{verb.path.removeprefix("run__"): bulk})[:MOST_COUNTED].count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a bulk action would do to the first ``tried`` of ``total`` runs, and why some would refuse."""

    total: int
    tried: int
    refused: int
    refusals: Mapping[str, str]


def rehearse_bulk(
    verb: str,
    filters: RunFilters,
    *,
    by: AbstractBaseUser | None,
    arguments: Mapping[str, Any],
    using: str,
) -> Rehearsal:
    """Do ``verb`` to each run that fits, up to ``MOST_REHEARSED``, and roll it back; return what came of it.

    Raises ``ValueError`` as ``start_bulk``.
    """
    found, runs = find_verb(verb, arguments), select_runs(using, filters_for(verb, filters, arguments))
    tried = list(runs.select_related("workflow").order_by("pk")[:MOST_REHEARSED])
    refusals: dict[str, str] = {}
    for run in tried:
        try:
            with transaction.atomic(using=using):
                found.do(run, using, by, "", arguments)
                transaction.set_rollback(True, using=using)
        except WorkflowError as error:
            refusals[str(run.pk)] = _reason(error)
    first = dict(list(refusals.items())[:MOST_REFUSALS])
    return Rehearsal(total=runs.count(), tried=len(tried), refused=len(refusals), refusals=first)


def due_bulk_actions(using: str, *, since: timedelta = timedelta(0)) -> list[UUID]:
    """Return the bulk actions that somebody may go on with, and might have ``since`` so long ago."""
    due = BulkAction.objects.using(using).unfinished().filter(due_at__lte=database_now(using) - since)
    return list(due.order_by("due_at").values_list("pk", flat=True)[:BATCH])


def advance(
    using: str,
    bulk_id: UUID,
    *,
    seconds: float = SLICE,
    is_stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Go on with a bulk action for about so many ``seconds``, by one run at least, outside of transactions.

    Returns whether to call again at once: False where it is finished, somebody else goes on with it, or it
    has to wait; its row says which. Raises the database's errors; the clock then goes on with it.
    """
    hold = _claim(using, bulk_id)
    if hold is None:
        return False
    until = time.monotonic() + seconds

    def is_over() -> bool:
        return is_stopping() or time.monotonic() >= until

    try:
        while not _is_ahead(hold):
            if not _do_batch(hold, is_over):
                return False
            if is_over():
                return _release(hold, timedelta(0))
        return _release(hold, BREATH)
    except RunIsBusy:
        return _release(hold, BREATH)
    except _TakenOver:
        return False


def _claim(using: str, bulk_id: UUID) -> _Hold | None:
    now, rows = database_now(using), BulkAction.objects.using(using)
    bulk = rows.unfinished().filter(pk=bulk_id, due_at__lte=now).first()
    if bulk is None:
        return None
    hold = _Hold(
        using=using,
        bulk=bulk,
        verb=find_verb(bulk.verb, bulk.arguments),
        filters=read_filters(bulk.filters),
        by=_find_user(bulk.by_id),
    )
    try:
        bulk.due_at = _write(hold)
    except _TakenOver:
        return None
    return hold


def _find_user(user_id: Any) -> AbstractBaseUser | None:
    return None if user_id is None else user_rows().filter(pk=user_id).first()


def _write(hold: _Hold, **values: Any) -> datetime:
    """Write the row, demanding that it is still ours, and renew the lease; return until when.

    The caller keeps that as the row's ``due_at`` once it is committed. Raises ``_TakenOver``.
    """
    lease = database_now(hold.using) + get_settings().LEASE
    ours = BulkAction.objects.using(hold.using).unfinished()
    if not ours.filter(pk=hold.bulk.pk, due_at=hold.bulk.due_at).update(**{"due_at": lease, **values}):
        raise _TakenOver
    return lease


def _release(hold: _Hold, pause: timedelta) -> bool:
    """Let anybody go on after ``pause``; return whether that is now."""
    try:
        _write(hold, due_at=database_now(hold.using) + pause)
    except _TakenOver:
        return False
    return not pause


def _is_ahead(hold: _Hold) -> bool:
    """Whether workers have yet to come for too much of what this bulk action made ready."""
    if get_settings().QUEUE is None or not hold.verb.path:
        return False
    ready = StepRun.objects.using(hold.using).due(database_now(hold.using)).exclude(status=StepStatus.RUNNING)
    return ready.filter(**{hold.verb.path: hold.bulk})[:AHEAD].count() >= AHEAD


def _do_batch(hold: _Hold, is_over: Callable[[], bool]) -> bool:
    """Do the next runs; return whether there may be more."""
    runs = select_runs(hold.using, hold.filters).filter(pk__lte=hold.bulk.until)
    if hold.bulk.last is not None:
        runs = runs.filter(pk__gt=hold.bulk.last)
    ids = list(runs.order_by("pk").values_list("pk", flat=True)[:BATCH])
    if not ids:
        _write(hold, due_at=None, finished_at=database_now(hold.using))
        return False
    for run_id in ids:
        _do_run(hold, run_id)
        hold.bulk.last = run_id
        if is_over():
            break
    return True


def _do_run(hold: _Hold, run_id: UUID) -> None:
    """Do the verb to one run, or note why it was refused."""
    for tries_left in reversed(range(TRIES)):
        try:
            with transaction.atomic(using=hold.using):
                due_at = _apply(hold, run_id)
            hold.bulk.due_at = due_at
            return
        except StaleClaim:
            hold.bulk.due_at = _write(hold, last=run_id)  # Gone meanwhile.
            return
        except OperationalError as error:
            if not tries_left or not is_passing(error):
                raise
        except (RunIsBusy, _TakenOver, InterfaceError):
            raise
        except Exception as error:
            # One run that is broken must not stop the others.
            if not isinstance(error, WorkflowError):
                logger.exception("Bulk action %s goes on without run %s.", hold.bulk.pk, run_id)
            _refuse(hold, run_id, error)
            return


def _apply(hold: _Hold, run_id: UUID) -> datetime:
    run, bulk = lock_if_free(hold.using, run_id), hold.bulk
    if run.status not in hold.filters.status:
        return _write(hold, last=run_id)
    actions = RunAction.objects.using(hold.using).filter(run=run).order_by("-pk").values_list("pk", flat=True)
    before = actions.first()
    hold.verb.do(run, hold.using, hold.by, bulk.note, bulk.arguments)
    latest = actions.first()
    if latest is not None and latest != before:
        RunAction.objects.using(hold.using).filter(pk=latest).update(bulk=bulk)
    return _write(hold, last=run_id, done=F("done") + 1)


def _refuse(hold: _Hold, run_id: UUID, error: Exception) -> None:
    refusals = hold.bulk.refusals
    if len(refusals) < MOST_REFUSALS:
        refusals = {**refusals, str(run_id): _reason(error)}
    hold.bulk.due_at = _write(hold, last=run_id, refused=F("refused") + 1, refusals=refusals)
    hold.bulk.refusals = refusals


def _reason(error: Exception) -> str:
    return clean_text(
        str(error) if isinstance(error, VerbRefused) else f"{type(error).__qualname__}: {error}"
    )
