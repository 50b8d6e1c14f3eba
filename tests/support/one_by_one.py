"""The engine, one claim at a time: a test says which step is executed next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_workflow import define, trigger
from django_workflow.engine.claim import Claim, claim_due
from django_workflow.engine.execute import follow
from django_workflow.models import Run
from tests.support.runs import Steps, silent_commit


def ready_run(steps: Steps, input: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """Return a run that is ready and claimed by nobody."""
    define("flow", steps=steps, **fields)
    with silent_commit():
        return trigger("flow", input)


def claim_all(run: Run) -> dict[str, Claim]:
    """Claim all that is due of a run, each alone, by the name of the step run."""
    claims = {}
    while found := claim_due("default", run_id=run.pk):
        claims |= {str(claim.step_run): claim for claim in found}
    return claims


def execute_next(run: Run) -> None:
    """Execute what is claimed first of what is due, and leave what follows to others."""
    follow(claim_due("default", run_id=run.pk), keep=lambda: False)


def execute_alone(claim: Claim) -> None:
    """Execute a claimed step run, and leave what follows to others."""
    follow([claim], keep=lambda: False)
