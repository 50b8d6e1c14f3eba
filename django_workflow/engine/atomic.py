"""Atomic steps: handler and recording in one transaction (ENGINE.md rules 11 and 28)."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import DatabaseError, connections, transaction

from ..registry import Handler
from .attempt import attempt
from .claim import Claim, StaleClaim, lock_claim, pass_gate, put, watching
from .moves import Erred
from .record import Recording, conclude, work_out, write
from .report import Report, report_error
from .safely import record_safely, repeat


def execute_atomic(claim: Claim, handler: Handler, *, keep: bool) -> Claim | None:
    """Call the handler and record in one transaction.

    If either fails, nothing of it stays but the failure's record.
    """
    revision = claim.run.revision
    try:
        report, recording = repeat(partial(_attempt_atomic, claim, handler, keep=keep), claim.using)
    except DatabaseError as error:
        report, recording = report_error(error), None
    if recording is not None:
        return conclude(claim, recording)
    claim.locked = False
    claim.run.revision = revision
    return record_safely(claim, report, keep=keep)


def _attempt_atomic(claim: Claim, handler: Handler, *, keep: bool) -> tuple[Report, Recording | None]:
    revision, claim.locked = claim.run.revision, False
    try:
        with transaction.atomic(using=claim.using):
            _lock(claim)
            callbacks: list[Any] = connections[claim.using].run_on_commit
            earlier = len(callbacks)
            with watching(claim):
                report = attempt(claim, handler)
            if isinstance(report.result, Erred):
                transaction.set_rollback(True, using=claim.using)
                return report, None
            if claim.is_stale:
                lock_claim(claim)
            recording = work_out(claim, report, keep=keep)
            write(claim, recording)
            # What raises after the commit is logged, and is not the step's (ENGINE.md rule 11).
            callbacks[earlier:] = [
                (savepoints, call, True) for savepoints, call, _robust in callbacks[earlier:]
            ]
        return report, recording
    except DatabaseError:
        claim.run.revision = revision
        raise


def _lock(claim: Claim) -> None:
    values = {"revision": claim.run.revision + 1, "step": claim.step_run.step}
    try:
        pass_gate(claim.using, claim.run, values)
    except StaleClaim:
        lock_claim(claim)
    else:
        put(claim.run, values)
        claim.locked = True
