"""Runs that the engine itself starts: called by a step, or after a failure (ENGINE.md rule 33)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from ..definition.program import Program
from ..definition.spec import StepSpec
from ..exceptions import TooDeep, WorkflowError
from ..models import Run, Source, StepRun
from ..outcomes import CallWorkflow
from ..status import StepStatus, WaitingFor
from .driving import pass_on
from .insert_runs import Origin, insert_run
from .moves import Awaits, Finished
from .now import database_now
from .orders import Call, find_workflow, make_order
from .report import Report
from .waits import wait_for_child

logger = logging.getLogger("django_workflow")

MAX_DEPTH = 20


def prepare_call(outcome: CallWorkflow, run: Run, using: str) -> Call:
    """Return the call that a step of ``run`` asks for.

    Raises ``WorkflowNotFound``, ``ParamsError`` for input that does not fit, and ``TooDeep``.
    """
    if run.depth >= MAX_DEPTH:
        raise TooDeep(
            f"workflow {run.workflow.name!r} was called {run.depth} calls deep, and {MAX_DEPTH} is the most: "
            f"it cannot call {outcome.workflow!r}; does a workflow call itself without an end?"
        )
    workflow = find_workflow(outcome.workflow, using)
    order = make_order(workflow, outcome.input, key=outcome.key, using=using)
    return Call(workflow=workflow, order=order, waits=outcome.wait)


def make_call(caller: StepRun, spec: StepSpec, report: Report, call: Call, *, using: str) -> Report:
    """Start the called run in this transaction, behind the caller's lock; return the report to record."""
    run = caller.run
    origin = Origin(source=Source.CALL, parent=caller, depth=run.depth + 1, user_id=run.triggered_by_id)
    child, rows = insert_run(call.workflow, call.order, origin, using=using)
    if rows:
        pass_on(using, [child.pk], rows)
    if not call.waits:
        return replace(report, result=Finished(), output=str(child.pk), child_id=child.pk)
    now = database_now(using)
    result, awaits = wait_for_child(spec, now)
    if child.is_final:
        # Found by its key, or switched off. It is looked at like a wait whose time is over, at once.
        result = Awaits(waiting_for=WaitingFor.CHILD, until=now)
    return replace(report, result=result, awaits=awaits, child_id=child.pk)


def call_on_failure(run: Run, program: Program, using: str) -> None:
    """Start the workflow that ``on_failure`` names, in the transaction that makes the run failed."""
    named = program.spec.on_failure
    if not isinstance(named, Mapping):
        return
    failed = StepRun.objects.using(using).filter(run=run, status=StepStatus.FAILED, handled=False)
    row = failed.order_by("number").only("step").last()
    step = run.step if row is None else row.step
    about = {
        "run": {"id": str(run.pk), "key": run.key, "workflow": run.workflow.name},
        "error": {"type": run.error_type, "message": run.error, "step": step},
    }
    try:
        if run.depth >= MAX_DEPTH:
            raise TooDeep(f"{MAX_DEPTH} failures led to one another")
        workflow = find_workflow(str(named["workflow"]), using)
        order = make_order(workflow, {"step": step}, using=using)
    except WorkflowError as error:
        text = "Run %s of %s failed, and on_failure could not start: %s"
        logger.error(text, run.pk, run.workflow.name, error)
        return
    origin = Origin(source=Source.CALL, depth=run.depth + 1, user_id=run.triggered_by_id)
    # Words of the expressions, which nobody else can use as keys: there they mean the run that failed.
    order = replace(order, input={**order.input, **about})
    started, rows = insert_run(workflow, order, origin, using=using)
    pass_on(using, [started.pk], rows)
