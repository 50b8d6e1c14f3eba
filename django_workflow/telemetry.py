"""Log lines from signal receivers: the engine itself neither logs nor counts what happens to runs."""

from __future__ import annotations

import logging
from typing import Any

from .signals import run_finished, run_started, step_finished
from .status import RunStatus, StepStatus

logger = logging.getLogger("django_workflow.runs")


def connect() -> None:
    """Connect the receivers; calling it again changes nothing."""
    run_started.connect(log_run_started, dispatch_uid="django_workflow.log_run_started")
    step_finished.connect(log_step_finished, dispatch_uid="django_workflow.log_step_finished")
    run_finished.connect(log_run_finished, dispatch_uid="django_workflow.log_run_finished")


def log_run_started(run: Any, **kwargs: Any) -> None:
    """Log that a run has started."""
    logger.info("Run %s of %s started.", run.pk, run.workflow.name, extra=_extra(run))


def log_step_finished(run: Any, step_run: Any, **kwargs: Any) -> None:
    """Log how a step ended; a failure is a warning with its error."""
    extra = _extra(run, step_run)
    if step_run.status == StepStatus.FAILED:
        text = "Run %s: step %s failed at attempt %d: %s: %s"
        logger.warning(
            text, run.pk, step_run, step_run.attempt, step_run.error_type, step_run.error, extra=extra
        )
    else:
        logger.info("Run %s: step %s is %s.", run.pk, step_run, step_run.status, extra=extra)


def log_run_finished(run: Any, **kwargs: Any) -> None:
    """Log how a run ended; a failure is an error."""
    if run.status == RunStatus.FAILED:
        text = "Run %s of %s failed at step %s: %s: %s"
        logger.error(text, run.pk, run.workflow.name, run.step, run.error_type, run.error, extra=_extra(run))
    else:
        logger.info("Run %s of %s is %s.", run.pk, run.workflow.name, run.status, extra=_extra(run))


def _extra(run: Any, step_run: Any = None) -> dict[str, str]:
    extra = {"workflow": run.workflow.name, "run": str(run.pk)}
    return extra if step_run is None else {**extra, "step": str(step_run)}
