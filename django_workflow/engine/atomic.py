"""Atomic steps: handler and recording in one transaction."""

from __future__ import annotations

from contextlib import ExitStack
from copy import copy
from functools import partial

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from ..models import Run
from ..registry import Handler
from .attempt import attempt
from .claim import Claim, lock_claim, put
from .gate import StaleClaim, pass_gate, watching
from .moves import Erred
from .outage import NotRecorded, is_lost
from .record import conclude, write
from .recording import Keep, Recording, work_out
from .report import Report, report_error
from .safely import record_safely, repeat
from .session_settings import keeping_settings
from .transactions import count_callbacks, make_robust
from .turns import writing


def execute_atomic(claim: Claim, handler: Handler, *, keep: Keep) -> Claim | None:
    """Call the handler and record in one transaction.

    If either fails, nothing of it stays but the failure's record. Raises ``NotRecorded``.
    """
    before, reports = copy(claim.run), list[Report]()
    act = partial(_attempt_atomic, claim, handler, before, reports, keep=keep)
    try:
        report, recording = repeat(act, claim.using)
    except DatabaseError as error:
        if isinstance(error, (OperationalError, InterfaceError)) and is_lost(claim.using, error):
            raise NotRecorded from error
        report, recording = report_error(error), None
        if reports:
            report = reports[-1].conceal(report)
    if recording is not None:
        return conclude(claim, recording)
    _restore(claim, before)
    return record_safely(claim, report, keep=keep)


def _attempt_atomic(
    claim: Claim, handler: Handler, before: Run, reports: list[Report], *, keep: Keep
) -> tuple[Report, Recording | None]:
    _restore(claim, before)
    with ExitStack() as until_committed, transaction.atomic(using=claim.using):
        hold_writers(claim.using, until_committed)
        _lock(claim)
        earlier = count_callbacks(claim.using)
        with watching(claim):
            report = attempt(claim, handler)
        reports.append(report)
        if isinstance(report.result, Erred):
            transaction.set_rollback(True, using=claim.using)
            return report, None
        if claim.is_stale:
            lock_claim(claim)
        recording = work_out(claim, report, keep=keep)
        hold_renewals(claim.using, until_committed)
        write(claim, recording)
        make_robust(claim.using, earlier, around=keeping_settings)
    return report, recording


def hold_writers(using: str, until_committed: ExitStack) -> None:
    """Keep the lease thread away for the whole transaction, where a transaction stops every other writer."""
    if connections[using].vendor == "sqlite":
        until_committed.enter_context(writing(using))


def hold_renewals(using: str, until_committed: ExitStack) -> None:
    """Keep the lease thread away from here to the commit, where it was not kept away before."""
    if connections[using].vendor != "sqlite":
        until_committed.enter_context(writing(using))


def _restore(claim: Claim, before: Run) -> None:
    """Take back in memory what a transaction that was rolled back did to the run."""
    claim.locked = False
    claim.run = copy(before)
    claim.step_run.run = claim.run


def _lock(claim: Claim) -> None:
    values = {"revision": claim.run.revision + 1, "step": claim.step_run.step}
    try:
        pass_gate(claim.using, claim.run, values)
    except StaleClaim:
        lock_claim(claim)
    else:
        put(claim.run, values)
        claim.locked = True
