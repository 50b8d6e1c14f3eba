"""What one recording makes of the run's own row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from ..codec import differs
from ..models import StepRun
from ..status import FINAL_RUN, FINAL_STEP, LIVE_STEP, RunStatus, StepStatus, WaitingFor
from .claim import Claim
from .endings import NOT_STARTED, final_output, not_begun, others_live, others_move
from .items import Update
from .moves import Plan
from .report import Report
from .undo import failed_step


def run_values(
    claim: Claim,
    report: Report,
    *,
    planned: Plan,
    now: datetime,
    updates: Sequence[Update],
    ready: Sequence[StepRun],
    stops_items: bool = False,
) -> dict[str, Any]:
    """Return the columns of the run that change.

    ``ready`` are the other step runs that are inserted or set free; ``stops_items``: those beside this one,
    which have not begun, are cancelled.
    """
    run, values = claim.run, _heading(claim, report, planned, updates)
    if report.changes:
        values["state"] = report.changes.apply(run.state)
    if planned.jumps is not None:
        values["jumps"] = planned.jumps.as_json()
    following = [row.step for row in ready if row.status not in FINAL_STEP]
    values["step"] = following[0] if following else claim.step_run.step
    values["status"] = status = ends_as(claim, planned, updates) or _going_on(
        claim, planned, updates, ready, stops_items=stops_items
    )
    if status in FINAL_RUN:
        values["finished_at"] = now
        if status == RunStatus.FAILED and claim.step_run.undoes_id is not None:
            values["step"] = failed_step(claim.using, run)
        if status == RunStatus.DONE and "output" not in values and not run.ending:
            values["output"] = _last_output(claim, planned, updates)
    changed = {name: value for name, value in values.items() if differs(getattr(run, name), value)}
    return {"revision": claim.number, **changed}


def _heading(claim: Claim, report: Report, planned: Plan, updates: Sequence[Update]) -> dict[str, Any]:
    ending = planned.ending
    if ending is None:
        return {}
    values: dict[str, Any] = {
        "ending": ending.status,
        "error": ending.error,
        "error_type": ending.error_type[:255],
    }
    if ending.status == RunStatus.DONE:
        values["output"] = report.output if ending.has_output else _last_output(claim, planned, updates)
    return values


def _last_output(claim: Claim, planned: Plan, updates: Sequence[Update]) -> Any:
    own = {row.step: values.get("output", row.output) for row, values in updates if _is_output(row, values)}
    return final_output(claim.using, claim.run.pk, claim.program.graph, own, planned.retire)


def _is_output(row: StepRun, values: dict[str, Any]) -> bool:
    is_output = row.index == -1 and row.undoes_id is None
    return is_output and values.get("status") == StepStatus.DONE


def ends_as(claim: Claim, planned: Plan, updates: Sequence[Update]) -> str:
    """Return the final status that a recording gives the run; empty where the run goes on."""
    if not planned.settles:
        return ""
    closed = [row.pk for row, values in updates if values.get("status") in FINAL_STEP]
    heads_for = _heads_for(claim, planned)
    is_over = claim.is_sole or not others_live(
        claim.using, claim.run.pk, closed, running_only=bool(heads_for)
    )
    return (heads_for or RunStatus.DONE) if is_over else ""


def _heads_for(claim: Claim, planned: Plan) -> str:
    return planned.ending.status if planned.ending is not None else claim.run.ending


def _leaving(row: StepRun, planned: Plan, *, stops_items: bool) -> Q:
    """Return which step runs this recording cancels or skips, so that they move no more."""
    leaving = Q(step__in=planned.retire)
    if planned.skip:
        leaving |= Q(step__in=planned.skip) & not_begun()
    if stops_items:
        leaving |= Q(step=row.step, visit=row.visit, index__gte=0, status__in=NOT_STARTED)
    return leaving & Q(current=True)


def _going_on(
    claim: Claim, planned: Plan, updates: Sequence[Update], ready: Sequence[StepRun], *, stops_items: bool
) -> str:
    run, using, heads_for = claim.run, claim.using, _heads_for(claim, planned)
    if heads_for or run.status == RunStatus.PAUSED:
        return RunStatus.RUNNING if heads_for else run.status
    if any(row.status in LIVE_STEP and _moves(row) for row in ready):
        return RunStatus.RUNNING
    own = [row.pk for row, _values in updates]
    if claim.is_sole:
        return RunStatus.WAITING
    leaving = _leaving(claim.step_run, planned, stops_items=stops_items)
    is_moving = others_move(using, run.pk, own, leaving=leaving)
    return RunStatus.RUNNING if is_moving else RunStatus.WAITING


def _moves(row: StepRun) -> bool:
    # A row whose slot comes free is still waiting in memory; it is set to pending by this recording.
    return row.status != StepStatus.WAITING or row.waiting_for == WaitingFor.SLOT
