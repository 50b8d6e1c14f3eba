"""Execution: claim, attempt, record, and on to what follows (ENGINE.md rules 5, 8, 27, 28)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from ..conf import get_settings
from ..exceptions import Interrupted, LeaseLost, Poisoned
from ..models import Run, StepRun
from ..status import StepStatus
from .atomic import execute_atomic
from .attempt import attempt
from .claim import Claim, Keep, always, claim_due
from .gate import StaleClaim, lock_run
from .moves import Unknown
from .now import database_now
from .record import record
from .report import Report, overdue, report_error
from .safely import record_safely

logger = logging.getLogger("django_workflow")


class _Driving(threading.local):
    """The runs that this thread has yet to drive; None when no loop of it is going on."""

    runs: deque[tuple[str, UUID]] | None = None


_driving = _Driving()


def drive(using: str, run_id: UUID) -> bool:
    """Drive a run inline until nothing of it is due.

    Called by a handler, it joins the loop that goes on after the step; then it returns False.
    """
    if _driving.runs is not None:
        _driving.runs.append((using, run_id))
        return False
    with _loop() as waiting:
        waiting.append((using, run_id))
        _drain(waiting, always)
    return True


def work(
    using: str,
    *,
    queue: str | None = None,
    seconds: float | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Claim and execute what is due, of ``queue`` where given, until nothing is or ``seconds`` are over.

    A step that has begun is finished when ``is_stopping`` comes true; what follows it is left ready.
    Returns how many step runs were claimed as due.
    """
    until = None if seconds is None else time.monotonic() + seconds

    def keep() -> bool:
        return not is_stopping() and (until is None or time.monotonic() < until)

    count = 0
    with _loop() as waiting:
        while keep() and (claim := claim_due(using, queue=queue)) is not None:
            count += 1
            follow(claim, keep=keep)
            _drain(waiting, keep)
    return count


@contextmanager
def _loop() -> Iterator[deque[tuple[str, UUID]]]:
    earlier, _driving.runs = _driving.runs, deque()
    try:
        yield _driving.runs
    finally:
        _driving.runs = earlier


def _drain(waiting: deque[tuple[str, UUID]], keep: Keep) -> None:
    while waiting and keep():
        using, run_id = waiting.popleft()
        while keep() and (claim := claim_due(using, run_id=run_id)) is not None:
            if follow(claim, keep=keep).is_final:
                break


def follow(claim: Claim, *, keep: Keep = always) -> Run:
    """Execute a claim and what this process keeps of what follows; return the run as last recorded."""
    last = claim
    following: Claim | None = claim
    while following is not None:
        last = following
        following = execute(last, keep=keep)
    return last.run


def execute(claim: Claim, *, keep: Keep = always) -> Claim | None:
    """Execute a claimed step run and record what came of it. A claim that was lost writes nothing."""
    try:
        verdict = _verdict(claim)
        handler = claim.handler
        if verdict is not None:
            return record(claim, verdict, keep=keep)
        if handler is None:
            return record(claim, Report(result=Unknown()), keep=keep)
        if handler.atomic:
            return execute_atomic(claim, handler, keep=keep)
        return record_safely(claim, attempt(claim, handler), keep=keep)
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
    """Return what becomes of a step run whose handler must not be called (again); None where it is called."""
    row, run, most = claim.step_run, claim.run, get_settings().MAX_CRASHES
    if run.ending:
        return Report(result=Unknown())
    if run.deadline is not None and run.deadline <= database_now(claim.using):
        return report_error(overdue(run), action="fail")
    if not claim.has_crashed:
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


def _give_back(claim: Claim) -> None:
    """Make the step run ready again: this process is being stopped, which is no crash of the step."""
    handler, row = claim.handler, claim.step_run
    if handler is None or handler.rerun_after_crash:
        with transaction.atomic(using=claim.using):
            run = lock_run(claim.using, claim.run.pk)
            rows = StepRun.objects.using(claim.using).filter(pk=row.pk, lease_token=claim.token)
            if run.ending:
                # Nothing of it starts again: who takes the step up cancels it (ENGINE.md rule 12).
                rows.update(lease_until=row.created_at, due_at=row.created_at)
                return
            rows.update(status=StepStatus.PENDING, lease_token=None, lease_until=None, due_at=row.created_at)
