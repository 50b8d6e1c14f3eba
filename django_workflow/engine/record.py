"""Recording: one transaction keeps a result, the state and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

from django.db import transaction

from ..dispatch import ring_after_commit
from ..models import StepRun
from ..status import FINAL_STEP, RunStatus, StepStatus, WaitingFor
from .calling import call_on_failure, make_call
from .claim import Claim, lease_on, lock_claim, put, unlock
from .driving import pass_on
from .endings import cancel_items, cancel_waiting, retire_steps, skip_steps
from .entries import Entry
from .events import give_out, put_back
from .gate import StaleClaim, pass_gate
from .moves import Awaits
from .orders import Call
from .recording import Keep, Recording, always, is_stopped_item, work_out
from .report import Report
from .statements import write as write_entries
from .telling import tell_calls_ended, tell_recorded
from .transactions import sparing_tests
from .turns import writing

# How many outputs a process keeps in memory of each run that it drives.
MOST_KNOWN = 8


def record(claim: Claim, report: Report, *, keep: Keep = always) -> Claim | None:
    """Record what came of ``claim`` and return the claim on what follows, where this process may keep it.

    Raises ``StaleClaim`` when the step run is no longer ours: then nothing was written.
    """
    if report.call is not None:
        return conclude(claim, _record_call(claim, report, report.call, keep))
    recording = work_out(claim, report, keep=keep)
    try:
        with writing(claim.using), sparing_tests():
            write(claim, recording)
    except StaleClaim:
        recording = _record_locked(claim, lambda: report, keep)
    return conclude(claim, recording)


def _record_call(claim: Claim, report: Report, call: Call, keep: Keep) -> Recording:
    """Record a step together with the run that it calls, under the lock of its own run."""

    def prepare() -> Report:
        if (claim.run.ending and claim.step_run.undoes_id is None) or is_stopped_item(claim):
            # It called nobody, and so it is not done: nothing of it goes on any more.
            return replace(report, result=Awaits(waiting_for=WaitingFor.CHILD))
        return make_call(claim.step_run, claim.spec, report, call, using=claim.using)

    return _record_locked(claim, prepare, keep)


def _record_locked(claim: Claim, prepare: Callable[[], Report], keep: Keep) -> Recording:
    try:
        with writing(claim.using), transaction.atomic(using=claim.using):
            lock_claim(claim)
            recording = work_out(claim, prepare(), keep=keep)
            write_locked(claim, recording)
    except Exception:
        unlock(claim)
        raise
    return recording


def fits_entry(recording: Recording) -> bool:
    """Return whether the recording changes only its run, its own step run, and what it creates."""
    planned = recording.plan
    touches_others = planned.ending or planned.skip or planned.retire or planned.jumps
    looks_for_more = planned.row.waiting_for in (WaitingFor.EVENT, WaitingFor.CHILD) or _has_failed(recording)
    puts_back = bool(_failed_attempts(recording))
    is_alone = len(recording.updates) == 1 and not recording.stopped_items and not puts_back
    return is_alone and not touches_others and not looks_for_more


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
            write_locked(claim, recording)


def write_locked(claim: Claim, recording: Recording) -> None:
    """Write a recording of whatever kind, in the caller's transaction.

    Raises ``StaleClaim`` when the run or the step run is not as it was read.
    """
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
    put_back(using, _failed_attempts(recording))
    if planned.row.waiting_for == WaitingFor.EVENT:
        _take_event_in_store(claim, recording)
    if _has_failed(recording):
        failed = copy(run)
        put(failed, recording.run_values)
        call_on_failure(failed, claim.program, using)


def _failed_attempts(recording: Recording) -> list[StepRun]:
    """Return the step run, if it had waited for events and another attempt of it follows."""
    row, values = recording.updates[0]
    is_failed = values.get("status") == StepStatus.FAILED and "events" in (row.awaits or {})
    again = [new for new in recording.plan.create if (new.step, new.index) == (row.step, row.index)]
    return [row] if is_failed and any(new.attempt > row.attempt for new in again) else []


def _take_event_in_store(claim: Claim, recording: Recording) -> None:
    """Go on with an event that came before the wait for it."""
    woken = give_out(claim.using, copy(claim.run), recording.now)
    if woken and claim.run.status != RunStatus.PAUSED:
        recording.run_values["status"] = RunStatus.RUNNING
        pass_on(claim.using, [claim.run.pk], woken)


def _has_failed(recording: Recording) -> bool:
    return recording.run_values.get("status") == RunStatus.FAILED


def conclude(claim: Claim, recording: Recording) -> Claim | None:
    """Take over in memory what was committed, ring and tell, and return the claim on what follows."""
    for row, values in recording.updates:
        put(row, values)
    put(claim.run, recording.run_values)
    claim.locked = False
    ended = [row for row, values in recording.updates if values.get("status") in FINAL_STEP]
    # Receivers are other people's code, and may take their time.
    ring_after_commit(claim.using, _queues_to_ring(recording))
    if claim.program.has_calls and _may_leave_children(recording):
        tell_calls_ended(claim.using, claim.run)
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


def _may_leave_children(recording: Recording) -> bool:
    planned = recording.plan
    leaving = (StepStatus.FAILED, StepStatus.CANCELLED)
    is_left = any(values.get("status") in leaving for _row, values in recording.updates)
    return is_left or bool(planned.ending or planned.retire or planned.skip or recording.stopped_items)


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
