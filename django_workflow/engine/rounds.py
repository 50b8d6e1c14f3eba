"""Rounds: step runs that share one commit, of several runs or items of one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from copy import copy

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from ..exceptions import LeaseLost
from ..models import Run
from .atomic import hold_renewals, hold_writers
from .attempt import attempt
from .claim import Claim
from .gate import StaleClaim, watching
from .item_round import are_siblings, execute_items, is_shared_item
from .moves import Erred
from .outage import NotRecorded, is_lost
from .record import conclude, entry_of, fits_entry, write
from .recording import Keep, Recording, work_out
from .report import Report
from .safely import record_safely
from .session_settings import keeping_settings
from .sharing import may_share, note_undone
from .single import execute, tell_lost, verdict
from .statements import write as write_entries
from .transactions import count_callbacks, is_closed, make_robust, sparing_tests
from .turns import writing
from .waits import has_timed_out

# How long the handlers of one round may take together, in seconds. SQLite has one writer at a time.
LONGEST = 0.05
LONGEST_ON_SQLITE = 0.02

Worked = list[tuple[Claim, Recording]]


class Undone(Exception):
    """The round cannot be committed: each of its steps is done again alone.

    ``by``: whose handler spoilt it.
    """

    def __init__(self, by: Claim | None = None) -> None:
        super().__init__()
        self.by = by


def next_round(waiting: Sequence[Claim]) -> list[Claim]:
    """Return the claims to execute next: the first alone, or all that may share its commit."""
    first = waiting[0]
    if is_shared_item(first):
        return [claim for claim in waiting if is_shared_item(claim) and are_siblings(claim, first)]
    if not _shares(first):
        return [first]
    return [claim for claim in waiting if _shares(claim) and _is_atomic(claim) == _is_atomic(first)]


def _shares(claim: Claim) -> bool:
    row = claim.step_run
    is_apart = claim.was_undone or row.solo or not claim.is_sole or has_timed_out(row)
    return not is_apart and may_share(claim.handler) and verdict(claim) is None


def _is_atomic(claim: Claim) -> bool:
    return claim.handler is not None and claim.handler.atomic


def execute_round(claims: Sequence[Claim], *, keep: Keep) -> tuple[int, list[Claim]]:
    """Execute claims and record them together; return how many were begun, and the claims on what follows.

    A round of one is recorded the lone way. Raises ``NotRecorded``.
    """
    if len(claims) == 1:
        following = execute(claims[0], keep=keep)
        return 1, [] if following is None else [following]
    if is_shared_item(claims[0]):
        return execute_items(claims, keep=keep, longest=_longest(claims[0].using))
    if _is_atomic(claims[0]):
        return _execute_atomic(claims, keep)
    return _execute_idempotent(claims, keep)


def _longest(using: str) -> float:
    return LONGEST_ON_SQLITE if connections[using].vendor == "sqlite" else LONGEST


def _execute_idempotent(claims: Sequence[Claim], keep: Keep) -> tuple[int, list[Claim]]:
    until = time.monotonic() + _longest(claims[0].using)
    reports: list[tuple[Claim, Report]] = []
    begun = 0
    for claim in claims:
        if begun and time.monotonic() > until:
            break
        begun += 1
        if claim.handler is not None and not claim.lease.is_given_back:
            try:
                reports.append((claim, attempt(claim, claim.handler)))
            except LeaseLost:
                tell_lost(claim)
    return begun, _record_together(reports, keep)


def _record_together(reports: Sequence[tuple[Claim, Report]], keep: Keep) -> list[Claim]:
    """Record all that can be in one commit, and the others one by one."""
    if not reports:
        return []
    worked = [(claim, work_out(claim, report, keep=keep)) for claim, report in reports if report.call is None]
    together = [each for each in worked if fits_entry(each[1])] if len(worked) > 1 else []
    passed = _write_together(together)
    following = [conclude(claim, recording) for claim, recording in together if claim.run.pk in passed]
    for claim, report in reports:
        if claim.run.pk not in passed:
            try:
                following.append(record_safely(claim, report, keep=keep))
            except StaleClaim:
                tell_lost(claim)
    return [claim for claim in following if claim is not None]


def _write_together(together: Worked) -> set[object]:
    if not together:
        return set()
    using = together[0][0].using
    # What the database refuses of one is found out, and recorded, when each is recorded alone.
    with suppress(DatabaseError), writing(using), sparing_tests():
        return set(write_entries(using, [entry_of(claim, recording) for claim, recording in together]))
    return set()


def _execute_atomic(claims: Sequence[Claim], keep: Keep) -> tuple[int, list[Claim]]:
    before = {claim.run.pk: copy(claim.run) for claim in claims}
    try:
        worked = _attempt_together(claims, keep)
    except (Undone, LeaseLost, StaleClaim, DatabaseError) as error:
        if isinstance(error, (OperationalError, InterfaceError)) and is_lost(claims[0].using, error):
            raise NotRecorded from error
        for claim in claims:
            _undo(claim, before[claim.run.pk], error)
        return 0, []
    following = [conclude(claim, recording) for claim, recording in worked]
    return len(worked), [claim for claim in following if claim is not None]


def _undo(claim: Claim, run: Run, error: Exception) -> None:
    """Take back in memory what the transaction did; the step is done again by itself."""
    claim.run, claim.is_stale, claim.was_undone = run, False, True
    claim.step_run.run = run
    claim.lease.take_back()
    is_culprit = isinstance(error, DatabaseError) or (isinstance(error, Undone) and error.by is claim)
    if is_culprit and claim.handler is not None:
        note_undone(claim.handler)


def _attempt_together(claims: Sequence[Claim], keep: Keep) -> Worked:
    using, worked = claims[0].using, []
    with ExitStack() as until_committed, transaction.atomic(using=using):
        hold_writers(using, until_committed)
        _lock_runs(using, claims)
        until = time.monotonic() + _longest(using)
        earlier = count_callbacks(using)
        for claim in claims:
            worked.append((claim, _attempt(claim, keep)))
            if time.monotonic() > until or count_callbacks(using) > earlier:
                break
        hold_renewals(using, until_committed)
        _write_worked(using, worked)
        make_robust(using, earlier, around=keeping_settings)
    return worked


def _lock_runs(using: str, claims: Sequence[Claim]) -> None:
    """Lock the runs in key order. Raises ``Undone`` where one was changed since it was read."""
    no_key = connections[using].features.has_select_for_no_key_update
    rows = Run.objects.using(using).filter(pk__in=[claim.run.pk for claim in claims]).order_by("pk")
    found = dict(rows.select_for_update(no_key=no_key).values_list("pk", "revision"))
    if any(found.get(claim.run.pk) != claim.run.revision for claim in claims):
        raise Undone


def _attempt(claim: Claim, keep: Keep) -> Recording:
    handler = claim.handler
    assert handler is not None
    try:
        with watching(claim):
            report = attempt(claim, handler)
    except OperationalError as error:
        if is_lost(claim.using, error):
            raise
        raise Undone(claim) from error
    if isinstance(report.result, Erred) or claim.is_stale or is_closed(claim.using):
        raise Undone(claim)
    return work_out(claim, report, keep=keep)


def _write_worked(using: str, worked: Worked) -> None:
    together = [entry_of(claim, recording) for claim, recording in worked if fits_entry(recording)]
    if together and len(write_entries(using, together)) < len(together):
        raise Undone
    for claim, recording in worked:
        if not fits_entry(recording):
            write(claim, recording)
