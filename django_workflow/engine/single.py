"""One claimed step run, executed and recorded by itself."""

from __future__ import annotations

import logging

from ..conf import get_settings
from ..exceptions import Interrupted, LeaseLost, Poisoned
from .atomic import execute_atomic
from .attempt import attempt
from .claim import Claim
from .gate import StaleClaim
from .late_answers import take_what_came, wait_on
from .moves import Unknown
from .now import database_now
from .recording import Keep, always
from .report import Report, overdue, report_error
from .safely import record_safely
from .waits import has_timed_out, overdue_wait

logger = logging.getLogger("django_workflow")


def execute(claim: Claim, *, keep: Keep = always) -> Claim | None:
    """Execute a claimed step run, record what came of it, and return the claim on what follows.

    A claim that was lost writes nothing. Raises ``NotRecorded``.
    """
    try:
        if has_timed_out(claim.step_run):
            take_what_came(claim)
        report = verdict(claim)
        handler = claim.handler
        if report is not None or handler is None:
            return record_safely(claim, report or Report(result=Unknown()), keep=keep)
        if handler.atomic:
            return execute_atomic(claim, handler, keep=keep)
        return record_safely(claim, attempt(claim, handler), keep=keep)
    except (StaleClaim, LeaseLost):
        tell_lost(claim)
    return None


def tell_lost(claim: Claim) -> None:
    """Log that the step run is no longer ours."""
    logger.warning(
        "Step %s of run %s belongs to another worker by now; nothing was recorded.",
        claim.step_run,
        claim.run.pk,
    )


def verdict(claim: Claim) -> Report | None:
    """Return what becomes of a step run whose handler must not be called (again); None where it is called."""
    row, run, most = claim.step_run, claim.run, get_settings().MAX_CRASHES
    if run.ending and row.undoes_id is None:
        return Report(result=Unknown())
    if (late := overdue_wait(row, database_now(claim.using))) is not None:
        return report_error(late)
    if not run.ending and run.deadline is not None and run.deadline <= database_now(claim.using):
        return report_error(overdue(run), action="fail")
    if (waiting := wait_on(claim)) is not None:
        return waiting
    if not row.crashes:
        return None
    handler = claim.handler
    if handler is not None and not handler.rerun_after_crash and row.started_at is not None:
        return report_error(
            Interrupted("the worker died in the middle of the step: whether it took effect is unknown")
        )
    if row.crashes >= most:
        return report_error(
            Poisoned(f"the step's worker died {row.crashes} times while it ran (MAX_CRASHES is {most})")
        )
    return None
