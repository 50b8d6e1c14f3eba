"""Recording: one transaction keeps a result, the state and what comes next (ENGINE.md rules 1, 2, 6)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from ..codec import differs
from ..dispatch import ring_after_commit
from ..models import StepRun
from ..status import FINAL_STEP, RunStatus, StepStatus
from .claim import Claim, lease_on, lease_values, lock_claim, put, unlock
from .endings import cancel_items, cancel_waiting, retire_steps, skip_steps
from .entries import Entry
from .gate import StaleClaim, pass_gate
from .items import Update, end_item, is_item_end
from .moves import Erred, Plan, RowMove
from .now import database_now
from .plan import plan, rows_needed
from .report import Report
from .rows import handler_of, make_rows, moved_values, read_states, step_state
from .run_values import run_values
from .sharing import may_share
from .statements import write as write_entries
from .telling import tell_recorded
from .turns import writing

# Asked when a step is recorded: may this process keep what follows, or is it ready for any other?
Keep = Callable[[], bool]

# How many outputs a process keeps in memory of each run that it drives.
MOST_KNOWN = 8


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


def record(claim: Claim, report: Report, *, keep: Keep = always) -> Claim | None:
    """Record what came of ``claim`` and return the claim on what follows, where this process may keep it.

    Raises ``StaleClaim`` when the step run is no longer ours: then nothing was written.
    """
    recording = work_out(claim, report, keep=keep)
    try:
        with writing(claim.using):
            write(claim, recording)
    except StaleClaim:
        recording = _record_locked(claim, report, keep)
    return conclude(claim, recording)


def _record_locked(claim: Claim, report: Report, keep: Keep) -> Recording:
    try:
        with writing(claim.using), transaction.atomic(using=claim.using):
            lock_claim(claim)
            recording = work_out(claim, report, keep=keep)
            write(claim, recording)
    except Exception:
        unlock(claim)
        raise
    return recording


def work_out(claim: Claim, report: Report, *, keep: Keep) -> Recording:
    """Return what recording ``report`` writes, from the rows as they are now."""
    now = database_now(claim.using)
    if is_item_end(claim, report):
        recording = _work_out_item(claim, report, now)
    else:
        recording = Recording(plan=_plan(claim, claim.step_run, report, now), now=now)
        recording.updates.append(_update(claim, claim.step_run, recording.plan, report, now))
    _work_out_rows(claim, report, recording, keep=keep)
    live = [
        *recording.created,
        *(row for row, values in recording.updates if values.get("status") == StepStatus.PENDING),
    ]
    recording.run_values = run_values(
        claim, report, planned=recording.plan, now=recording.now, updates=recording.updates, ready=live
    )
    return recording


def _plan(claim: Claim, row: StepRun, report: Report, now: datetime) -> Plan:
    graph, run, state = claim.program.graph, claim.run_state(), step_state(row)
    retry = () if claim.handler is None else claim.handler.retry
    names = rows_needed(graph, run, state, report.result, retry)
    rows = read_states(claim.using, claim.run.pk, names) if names else {}
    return plan(
        graph, run, state, report.result, rows=rows, now=now, handler_retry=retry, roll=random.random()
    )


def _update(claim: Claim, row: StepRun, planned: Plan, report: Report, now: datetime) -> Update:
    if planned.failed_by is not None:
        report = replace(report, result=planned.failed_by)
    values = moved_values(row, planned.row, report, number=claim.number, now=now)
    return row, {name: value for name, value in values.items() if differs(getattr(row, name), value)}


def _work_out_item(claim: Claim, report: Report, now: datetime) -> Recording:
    end = end_item(claim, report, now)
    status = StepStatus.FAILED if isinstance(report.result, Erred) else StepStatus.DONE
    own = Plan(row=RowMove(status=status, postponed=claim.step_run.postponed, handled=end.is_handled))
    updates = [_update(claim, claim.step_run, own, report, now), *end.updates]
    if end.closes is None:
        return Recording(plan=own, now=now, updates=updates, stopped_items=end.stops)
    planned = _plan(claim, end.step_row, end.closes, now)
    updates.append(_update(claim, end.step_row, planned, end.closes, now))
    return Recording(plan=planned, now=now, updates=updates, stopped_items=end.stops)


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
            if not claim.in_batch or may_share(handler_of(claim.program, row.step)):
                solo = not claim.in_batch
                put(row, lease_values(claim.program, row, now, token=claim.token, solo=solo))
                recording.follows = row
            return


def fits_entry(recording: Recording) -> bool:
    """Return whether the recording changes only its run, its own step run, and what it creates."""
    planned = recording.plan
    touches_others = planned.ending or planned.skip or planned.retire or planned.jumps
    return len(recording.updates) == 1 and not touches_others and not recording.stopped_items


def entry_of(claim: Claim, recording: Recording) -> Entry:
    """Return what :func:`statements.write` writes of a recording that fits an entry."""
    row, values = recording.updates[0]
    return Entry(
        run=claim.run,
        run_values=recording.run_values,
        row=row,
        token=claim.token,
        row_values=values,
        created=recording.created,
    )


def write(claim: Claim, recording: Recording) -> None:
    """Write a recording, the run first, in one transaction.

    Raises ``StaleClaim`` when the run or the step run is not as it was read.
    """
    if fits_entry(recording):
        if not write_entries(claim.using, [entry_of(claim, recording)]):
            raise StaleClaim
    else:
        with transaction.atomic(using=claim.using, savepoint=False):
            _write_all(claim, recording)


def _write_all(claim: Claim, recording: Recording) -> None:
    using, run, planned, now = claim.using, claim.run, recording.plan, recording.now
    if not claim.locked or set(recording.run_values) - {"revision", "step"}:
        pass_gate(using, run, recording.run_values)
    for row, values in recording.updates:
        proof = {"lease_token": claim.token} if row is claim.step_run else {}
        if not StepRun.objects.using(using).filter(pk=row.pk, **proof).update(**values):
            raise StaleClaim
    if planned.ending is not None:
        cancel_waiting(using, run.pk, now)
    elif recording.stopped_items:
        cancel_items(using, run.pk, claim.step_run, now)
    if planned.skip:
        skip_steps(using, run.pk, planned.skip, now)
    if planned.retire:
        retire_steps(using, run.pk, planned.retire, now)
    if recording.created:
        StepRun.objects.using(using).bulk_create(recording.created, batch_size=500)


def conclude(claim: Claim, recording: Recording) -> Claim | None:
    """Take over in memory what was committed, ring and tell, and return the claim on what follows."""
    for row, values in recording.updates:
        put(row, values)
    put(claim.run, recording.run_values)
    claim.locked = False
    ended = [row for row, values in recording.updates if values.get("status") in FINAL_STEP]
    # Receivers are other people's code, and may take their time.
    ring_after_commit(claim.using, _queues_to_ring(recording))
    tell_recorded(claim.using, claim.run, ended)
    if recording.follows is None:
        return None
    others = sum(row.status not in FINAL_STEP for row in recording.created) - 1
    return Claim(
        using=claim.using,
        run=claim.run,
        step_run=recording.follows,
        program=claim.program,
        lease=lease_on(claim.using, recording.follows, recording.began),
        in_batch=claim.in_batch,
        is_sole=claim.is_sole and not others,
        known=_known_outputs(claim),
    )


def _known_outputs(claim: Claim) -> Mapping[str, Any]:
    """Return the few latest outputs that need not be read again: most steps want that of the one before."""
    row = claim.step_run
    if row.index >= 0 or row.status != StepStatus.DONE:
        return claim.known
    earlier = [each for each in claim.known.items() if each[0] != row.step]
    return dict([*earlier, (row.step, row.output)][-MOST_KNOWN:])


def _queues_to_ring(recording: Recording) -> set[str]:
    """Return the queues of what was left ready for anybody."""
    freed = [row for row, values in recording.updates if values.get("status") == StepStatus.PENDING]
    return {
        row.queue
        for row in [*recording.created, *freed]
        if row.status == StepStatus.PENDING and row.due_at is not None and row.due_at <= recording.now
    }
