"""Signals after the commit: whoever logs or counts receives them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db import transaction
from django.dispatch import Signal

from ..models import Run, StepRun
from ..signals import run_finished, run_started, step_finished
from ..status import FINAL_RUN, RunStatus
from .transactions import sparing_tests

# Only the engine listens to these. A run is final: others may wait for it.
run_ended = Signal()
# Steps that waited for the runs they had called may have ended otherwise.
calls_ended = Signal()

logger = logging.getLogger("django_workflow")

_is_clock_told = False


def tell_started(using: str, run: Run) -> None:
    """Send ``run_started`` once the transaction has committed."""

    def send() -> None:
        with sparing_tests():
            run_started.send_robust(Run, run=run)

    transaction.on_commit(send, using=using, robust=True)


def tell_recorded(using: str, run: Run, step_runs: Sequence[StepRun]) -> None:
    """Send ``step_finished`` for final ``step_runs``, then ``run_finished`` for a final run, after commit."""
    is_final = run.status in FINAL_RUN

    def send() -> None:
        for step_run in step_runs:
            with sparing_tests():
                step_finished.send_robust(Run, run=run, step_run=step_run)
        if is_final:
            run_ended.send_robust(Run, run=run)
            with sparing_tests():
                run_finished.send_robust(Run, run=run)

    if step_runs or is_final:
        transaction.on_commit(send, using=using, robust=True)


def tell_calls_ended(using: str, run: Run) -> None:
    """Say, after the commit, that runs which ``run`` has called may have nobody left who waits for them."""

    def send() -> None:
        calls_ended.send_robust(Run, run=run)

    transaction.on_commit(send, using=using, robust=True)


def tell_clock_is_needed(run: Run) -> None:
    """Log, once a process, that a run driven inline waits for something that only the clock continues."""
    global _is_clock_told
    if run.status in (RunStatus.PENDING, RunStatus.WAITING) and not _is_clock_told:
        _is_clock_told = True
        text = "Run %s of %s waits. What waits goes on by `manage.py workflow_clock`. (This is said once.)"
        logger.warning(text, run.pk, run.workflow.name)
