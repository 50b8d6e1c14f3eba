"""What one recording writes, worked out from the rows as they are."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from ..codec import check_size, differs
from ..conf import get_settings
from ..exceptions import TooLarge
from ..models import StepRun
from ..status import RunStatus, StepStatus
from .claim import Claim, lease_values, put
from .finish import undo_of_failure
from .items import FAILED_ITEM, Update, end_item, is_item_end
from .moves import Erred, NewRow, Plan, RowMove
from .now import database_now
from .plan import cut_off_status, plan, rows_needed
from .report import Report, report_error
from .rows import handler_of, make_rows, moved_values, read_states, step_state
from .run_values import ends_as, run_values
from .sharing import is_concurrent, may_share, shares_items
from .undo import goes_on, next_undo, plan_undo

# Asked when a step is recorded: may this process keep what follows, or is it ready for any other?
Keep = Callable[[], bool]


def always() -> bool:
    """Keep what follows, whatever the time."""
    return True


@dataclass(slots=True, kw_only=True)
class Recording:
    """All that one recording writes, worked out before its transaction, or behind its lock."""

    plan: Plan
    now: datetime
    # By the monotonic clock: the lease of what follows counts from here.
    began: float = field(default_factory=time.monotonic)
    run_values: dict[str, Any] = field(default_factory=dict)
    updates: list[Update] = field(default_factory=list)
    created: list[StepRun] = field(default_factory=list)
    stopped_items: bool = False
    follows: StepRun | None = None


def work_out(claim: Claim, report: Report, *, keep: Keep) -> Recording:
    """Return what recording ``report`` writes, from the rows as they are now."""
    now, report = database_now(claim.using), _fitting(claim, report)
    if is_item_end(claim, report) or is_stopped_item(claim):
        recording = _work_out_item(claim, report, now)
    else:
        recording = Recording(plan=_plan(claim, claim.step_run, report, now), now=now)
        recording.updates.append(_update(claim, claim.step_run, recording.plan, report, now))
    status = ends_as(claim, recording.plan, recording.updates)
    if status and (undo := _undo_to_come(claim, report, RunStatus(status), recording)) is not None:
        recording.plan = replace(recording.plan, create=(undo,))
    _work_out_rows(claim, report, recording, keep=keep)
    live = [
        *recording.created,
        *(row for row, values in recording.updates if values.get("status") == StepStatus.PENDING),
    ]
    recording.run_values = run_values(
        claim,
        report,
        planned=recording.plan,
        now=recording.now,
        updates=recording.updates,
        ready=live,
        stops_items=recording.stopped_items,
    )
    return recording


def _fitting(claim: Claim, report: Report) -> Report:
    """Return ``report``, or the failure of a step that wrote too much beside what was written meanwhile."""
    changes, state = report.changes, claim.run.state
    if not changes or changes.read is state:
        return report
    try:
        check_size(changes.apply(state), "state", get_settings().MAX_BYTES)
    except TooLarge as error:
        failed = report_error(error, report.params)
        return replace(failed, lines=report.lines, progress=report.progress)
    return report


def is_stopped_item(claim: Claim) -> bool:
    """Return whether another item of the same ``for_each`` has failed for all: this one goes on no more."""
    row = claim.step_run
    if row.index < 0 or row.undoes_id is not None or claim.run.ending:
        return False
    step_rows = StepRun.objects.using(claim.using).current().filter(run=row.run_id, step=row.step, index=-1)
    return step_rows.filter(visit=row.visit, event__name=FAILED_ITEM).exists()


def _undo_to_come(claim: Claim, report: Report, status: RunStatus, recording: Recording) -> NewRow | None:
    """Return the undo that keeps the run from being over: the first of them, or the next."""
    row, run, program, now = claim.step_run, claim.run, claim.program, recording.now
    if row.undoes_id is None:
        done = [each for each, values in recording.updates if values.get("status") == StepStatus.DONE]
        return undo_of_failure(run, status, program, now, claim.using, done)
    if not goes_on(report.result):
        return None
    return next_undo(claim.using, run, program, now=now, number=claim.number, made=row.undoes_id)


def _plan(claim: Claim, row: StepRun, report: Report, now: datetime) -> Plan:
    graph, run, state = claim.program.graph, claim.run_state(), step_state(row)
    retry = () if claim.handler is None else claim.handler.retry
    roll = random.random()
    if row.undoes_id is not None:
        undo = partial(plan_undo, claim.spec, run, state, report.result, undoes=row.undoes_id)
        return undo(now=now, handler_retry=retry, roll=roll)
    names = rows_needed(graph, run, state, report.result, retry)
    rows = read_states(claim.using, claim.run.pk, names) if names else {}
    return plan(graph, run, state, report.result, rows=rows, now=now, handler_retry=retry, roll=roll)


def _update(claim: Claim, row: StepRun, planned: Plan, report: Report, now: datetime) -> Update:
    if planned.failed_by is not None:
        report = replace(report, result=planned.failed_by)
    values = moved_values(row, planned.row, report, number=claim.number, now=now)
    return row, {name: value for name, value in values.items() if differs(getattr(row, name), value)}


def _work_out_item(claim: Claim, report: Report, now: datetime) -> Recording:
    end = end_item(claim, report, now)
    status = cut_off_status(step_state(claim.step_run), report.result)
    own = Plan(row=RowMove(status=status, postponed=claim.step_run.postponed, handled=end.is_handled))
    updates = [_update(claim, claim.step_run, own, report, now), *end.updates]
    if end.closes is None:
        return Recording(plan=own, now=now, updates=updates, stopped_items=end.stops)
    planned = _plan(claim, end.step_row, end.closes, now)
    updates.append(_update(claim, end.step_row, planned, end.closes, now))
    # Those that were given back since they were stopped do not begin again behind the step's end.
    stops = isinstance(end.closes.result, Erred)
    return Recording(plan=planned, now=now, updates=updates, stopped_items=stops)


def _work_out_rows(claim: Claim, report: Report, recording: Recording, *, keep: Keep) -> None:
    planned, now = recording.plan, recording.now
    items = report.items or {claim.step_run.index: claim.step_run.item}
    recording.created = make_rows(claim.run, claim.program, planned.create, now, items)
    if not keep() or claim.run.status == RunStatus.PAUSED:
        return
    if planned.jumps is not None:
        # What has been ready for longer goes first: a parallel branch may be about to jump to the same step.
        return
    for row in recording.created:
        if row.status == StepStatus.PENDING and row.queue == claim.step_run.queue:
            handler = handler_of(claim.program, row.step)
            is_claimed_with_others = row.index >= 0 and shares_items(handler) and row.attempt == 1
            if is_claimed_with_others or is_concurrent(handler):
                return
            if not claim.in_batch or may_share(handler):
                solo = not claim.in_batch
                put(row, lease_values(claim.program, row, now, token=claim.token, solo=solo))
                recording.follows = row
            return
