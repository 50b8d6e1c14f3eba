"""Execution: claim, attempt, record, and on to what follows (ENGINE.md rules 5, 8, 27, 28)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from uuid import UUID

from django.db import DatabaseError, transaction

from ..conf import get_settings
from ..exceptions import Interrupted, LeaseLost, Poisoned
from ..models import StepRun
from ..registry import Handler
from ..status import StepStatus
from .attempt import attempt
from .claim import Claim, StaleClaim, claim_due, lock_claim, pass_gate, put
from .moves import Erred, Unknown
from .record import Recording, conclude, record, work_out, write
from .report import Report, report_error

logger = logging.getLogger("django_workflow")


class _Driving(threading.local):
    """The runs that this thread has yet to drive; None when it drives none."""

    runs: deque[tuple[str, UUID]] | None = None


_driving = _Driving()


def drive(using: str, run_id: UUID) -> None:
    """Drive a run inline until nothing of it is due. Called by a handler, it joins the loop that goes on
    after the step."""
    if _driving.runs is not None:
        _driving.runs.append((using, run_id))
        return
    _driving.runs = deque([(using, run_id)])
    try:
        while _driving.runs:
            alias, each = _driving.runs.popleft()
            while (claim := claim_due(alias, run_id=each)) is not None:
                follow(claim)
    finally:
        _driving.runs = None


def work(using: str, *, queue: str | None = None, seconds: float | None = None) -> int:
    """Claim and execute what is due, of ``queue`` where given, until nothing is or ``seconds`` are over.

    Returns how many step runs were claimed first.
    """
    until = None if seconds is None else time.monotonic() + seconds
    count = 0
    while until is None or time.monotonic() < until:
        claim = claim_due(using, queue=queue)
        if claim is None:
            break
        count += 1
        run_id = claim.run.pk
        follow(claim, until=until)
        drive(using, run_id) if queue is None else None
    return count


def follow(claim: Claim | None, *, until: float | None = None) -> None:
    """Execute a claim and what this process keeps of what follows; after ``until`` (monotonic) it keeps
    nothing more."""
    while claim is not None:
        claim = execute(claim, keep=until is None or time.monotonic() < until)


def execute(claim: Claim, *, keep: bool = True) -> Claim | None:
    """Execute a claimed step run and record what came of it. A claim that was lost writes nothing."""
    try:
        verdict = _verdict(claim)
        handler = claim.handler
        if verdict is not None:
            return record(claim, verdict, keep=keep)
        if handler is None:
            return record(claim, Report(result=Unknown()), keep=keep)
        if handler.atomic:
            return _execute_atomic(claim, handler, keep=keep)
        return _record(claim, attempt(claim, handler), keep=keep)
    except (StaleClaim, LeaseLost):
        logger.warning(
            "Step %s of run %s belongs to another worker by now; nothing was recorded.",
            claim.step_run,
            claim.run.pk,
        )
    except (KeyboardInterrupt, SystemExit):
        _give_back(claim)
        raise
    return None


def _verdict(claim: Claim) -> Report | None:
    """Return the failure of a step run whose worker died, where it must not run again; None where it may."""
    row, most = claim.step_run, get_settings().MAX_CRASHES
    if not claim.has_crashed:
        return None
    handler = claim.handler
    if handler is not None and not handler.rerun_after_crash and row.started_at is not None:
        return report_error(
            Interrupted("the worker died in the middle of the step; whether it took effect is unknown")
        )
    if row.crashes >= most:
        return report_error(
            Poisoned(f"the step's worker died {row.crashes} times while it ran (MAX_CRASHES is {most})")
        )
    return None


def _record(claim: Claim, report: Report, *, keep: bool) -> Claim | None:
    """Record ``report``; what the database refuses because of its content is recorded as the step's
    failure."""
    try:
        return record(claim, report, keep=keep)
    except DatabaseError as error:
        if isinstance(report.result, Erred):
            raise
        return record(claim, report_error(error, report.params), keep=keep)


def _execute_atomic(claim: Claim, handler: Handler, *, keep: bool) -> Claim | None:
    """Call the handler and record in one transaction; if either fails, nothing of it stays but the failure's
    record."""
    recording: Recording | None = None
    revision = claim.run.revision
    try:
        with transaction.atomic(using=claim.using):
            _lock(claim)
            report = attempt(claim, handler)
            if isinstance(report.result, Erred):
                transaction.set_rollback(True, using=claim.using)
            else:
                recording = work_out(claim, report, keep=keep)
                write(claim, recording)
    except DatabaseError as error:
        recording, report = None, report_error(error)
    if recording is not None:
        return conclude(claim, recording)
    claim.locked = False
    claim.run.revision = revision
    return record(claim, report, keep=keep)


def _lock(claim: Claim) -> None:
    values = {"revision": claim.run.revision + 1, "step": claim.step_run.step}
    try:
        with transaction.atomic(using=claim.using):
            pass_gate(claim.using, claim.run, values)
    except StaleClaim:
        lock_claim(claim)
    else:
        put(claim.run, values)
        claim.locked = True


def _give_back(claim: Claim) -> None:
    """Make the step run ready again: this process is being stopped, which is no crash of the step."""
    handler, row = claim.handler, claim.step_run
    if handler is None or handler.rerun_after_crash:
        rows = StepRun.objects.using(claim.using).filter(pk=row.pk, lease_token=claim.token)
        rows.update(status=StepStatus.PENDING, lease_token=None, lease_until=None, due_at=row.created_at)
