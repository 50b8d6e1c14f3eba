"""Runs that the engine itself starts: called by a step, or after a failure."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..definition.program import Program
from ..definition.spec import StepSpec
from ..exceptions import OutcomeError, ParamsError, TooDeep, WorkflowError
from ..models import Run, Source, StepRun, Workflow
from ..outcomes import CallWorkflow
from ..status import StepStatus, WaitingFor
from .driving import pass_on
from .insert_runs import Origin, insert_run, insert_runs
from .moves import Awaits, Finished
from .now import database_now
from .orders import Call, find_workflow, make_order
from .programs import get_program
from .report import Report
from .undo import has_begun
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
    try:
        order = make_order(workflow, outcome.input, key=outcome.key, using=using)
    except ValueError as error:
        raise ParamsError("flow.call", {"key": [str(error)]}) from error
    if outcome.key is not None and outcome.wait:
        _refuse_circle(run, workflow, outcome.key, using)
    return Call(workflow=workflow, order=order, waits=outcome.wait)


def _refuse_circle(run: Run, workflow: Workflow, key: str, using: str) -> None:
    """Raise ``OutcomeError`` where the run of that key waits, itself or by way of others, for ``run``."""
    found = Run.objects.using(using).filter(workflow=workflow, key=key).values_list("pk", flat=True).first()
    seen, level = {run.pk}, {run.pk}
    while level and found is not None and found not in seen:
        callers = StepRun.objects.using(using).live().filter(child__in=level)
        level = set(callers.values_list("run", flat=True)) - seen
        seen |= level
    if found in seen:
        raise OutcomeError(
            f"flow.call with the key {key!r} finds run {found} of {workflow.name!r}, which waits for this "
            "one: they would wait for each other for ever; use another key, or wait: false."
        )


def make_call(caller: StepRun, spec: StepSpec, report: Report, call: Call, *, using: str) -> Report:
    """Start the called run in this transaction, behind the caller's lock; return the report to record."""
    child, rows = insert_run(call.workflow, call.order, _origin(caller), using=using)
    if rows:
        pass_on(using, [child.pk], rows)
    return _called(spec, report, child, waits=call.waits, using=using)


def make_calls(callers: Sequence[tuple[StepRun, Report]], spec: StepSpec, *, using: str) -> list[Report]:
    """Do the same for items of one step, in as few statements as can be; reports without a call stay."""
    asked: dict[int, list[tuple[int, StepRun, Call]]] = {}
    for place, (row, report) in enumerate(callers):
        if report.call is not None:
            asked.setdefault(report.call.workflow.pk, []).append((place, row, report.call))
    reports = [report for _row, report in callers]
    for called in asked.values():
        orders, origins = [call.order for *_, call in called], [_origin(row) for _, row, _ in called]
        children, rows = insert_runs(called[0][2].workflow, orders, origins, using=using)
        pass_on(using, dict.fromkeys(row.run_id for row in rows), rows)
        for (place, _row, call), child in zip(called, children, strict=True):
            reports[place] = _called(spec, reports[place], child, waits=call.waits, using=using)
    return reports


def _origin(caller: StepRun) -> Origin:
    run = caller.run
    return Origin(source=Source.CALL, parent=caller, depth=run.depth + 1, user_id=run.triggered_by_id)


def _called(spec: StepSpec, report: Report, child: Run, *, waits: bool, using: str) -> Report:
    if not waits:
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
    if not isinstance(named, Mapping) or has_begun(using, run):
        # Not where what a person has undone ends as it had ended before.
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
        order = make_order(workflow, _declared(workflow, {"step": step}, using), using=using)
    except WorkflowError as error:
        text = "Run %s of %s failed, and on_failure could not start: %s"
        logger.error(text, run.pk, run.workflow.name, error)
        return
    origin = Origin(source=Source.CALL, depth=run.depth + 1, user_id=run.triggered_by_id)
    # Words of the expressions, which nobody else can use as keys: there they mean the run that failed.
    order = replace(order, input={**order.input, **about})
    started, rows = insert_run(workflow, order, origin, using=using)
    pass_on(using, [started.pk], rows)


def _declared(workflow: Workflow, values: dict[str, Any], using: str) -> dict[str, Any]:
    """Return what of ``values`` the workflow takes: all, unless it declares its input."""
    if workflow.published_id is None:
        return values
    declared = get_program(workflow.published_id, using).spec.input
    return values if declared is None else {name: values[name] for name in values if name in declared}
