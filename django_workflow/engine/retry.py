"""Retry: a failed run goes on from the steps that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ..definition.program import Program
from ..exceptions import VerbRefused
from ..models import Run, StepRun
from ..status import RunStatus, StepStatus, WaitingFor
from .approvals import APPROVED
from .endings import retire_steps, skip_steps
from .events import put_back
from .jump import plan_jump
from .moves import NewRow
from .new_rows import share_slots
from .plan import plan_ready, plan_retry
from .rows import LEADS_TO, make_rows, read_states, run_state, step_state
from .undo import has_begun
from .verbs import apply_verb, built_on, live_status, program_of, superseded
from .waits import event_of, is_ours, wait_for_child

# Names the event of a step that waits for its child to be retried, and tells when that had failed.
RETRY_CHILD = "retry_child"

# Looks, after the commit, at the step runs that wait for a run: on which alias, for which run.
Wake = Callable[[str, UUID], object]


def retry(run: Run, *, using: str, by: AbstractBaseUser | None, note: str, wake: Wake | None = None) -> Run:
    """Go on from the failed steps of a failed run, outputs kept.

    A step that called a run is retried through that: ``wake`` looks at it after the commit; without it the
    clock does. Raises ``VerbRefused`` for a run that did not fail, and for one whose undo has begun.
    """
    return apply_verb("retry", partial(_retry, wake=wake), run, using=using, by=by, note=note)


def revive(run: Run, program: Program, now: datetime, using: str) -> None:
    """Let a locked failed run be active again, with a new deadline; unsaved.

    Raises ``VerbRefused`` once its undo has begun, because what was undone cannot be built on, and where
    another run stands for it or has its steps: its work would be done again.
    """
    newer = superseded([run.pk], using).get(run.pk) or built_on(run, using)
    if newer is not None:
        is_done = newer.status == RunStatus.DONE
        way_out = "restart that one to do the work again" if is_done else "go on with that one"
        raise VerbRefused(f"run {run.pk} was restarted as {newer.pk}, which is {newer.status}: {way_out}.")
    if has_begun(using, run):
        raise VerbRefused(
            f"the undo of run {run.pk} has begun, so it cannot go on: finish the undo, or restart the run."
        )
    run.status, run.ending, run.error, run.error_type, run.finished_at = RunStatus.RUNNING, "", "", "", None
    if program.spec.timeout is not None:
        run.deadline = now + program.spec.timeout


def insert_rows(rows: list[StepRun], using: str) -> list[StepRun]:
    """Insert step runs, and return them."""
    return StepRun.objects.using(using).bulk_create(rows, batch_size=500)


def jumps_not_taken(run: Run, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Take up the jumps of steps that were recorded while the run was ending; return the rows."""
    made: list[StepRun] = []
    ended = (StepStatus.DONE, StepStatus.SKIPPED)
    noted = StepRun.objects.using(using).current().filter(run=run, status__in=ended, event__name=LEADS_TO)
    for row in list(noted.order_by("number")):
        known = read_states(using, run.pk)
        state = run_state(run, program.spec, number=run.revision)
        target = row.event["payload"] if row.event else ""
        planned = plan_jump(program.graph, state, step_state(row), target, rows=known, error=None, now=now)
        skip_steps(using, run.pk, planned.skip, now)
        retire_steps(using, run.pk, planned.retire, now)
        run.jumps = run.jumps if planned.jumps is None else planned.jumps.as_json()
        made += insert_rows(make_rows(run, program, planned.create, now), using)
        StepRun.objects.using(using).filter(pk=row.pk).update(event=None)
    return made


def missing_rows(run: Run, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Insert, and return, what is ready since a step was recorded while the run was ending."""
    state = run_state(run, program.spec, number=run.revision)
    missing = plan_ready(program.graph, state, read_states(using, run.pk), now)
    return insert_rows(make_rows(run, program, missing, now), using)


def new_attempts(run: Run, program: Program, now: datetime, using: str, wake: Wake | None) -> list[StepRun]:
    """Insert a new attempt for every step that failed unhandled or was cancelled by the ending.

    The old ones become history. Returns the new ones.
    """
    current = StepRun.objects.using(using).current().filter(run=run)
    made: list[StepRun] = []
    asked: list[tuple[StepRun, StepRun]] = []
    for row in list(current.to_retry().filter(index=-1)):
        items = list(
            current.to_retry().filter(step=row.step, visit=row.visit, index__gte=0).order_by("index")
        )
        made += _attempts_of(run, program, row, items, now)
        old = [row, *items]
        _keep_children(old, made[-len(old) :], program, now, using, wake)
        put_back(using, old)
        asked += _keep_approvals(old, made[-len(old) :])
        StepRun.objects.using(using).filter(pk__in=[each.pk for each in old]).update(current=False)
    insert_rows(made, using)
    for before, row in asked:
        before.answers.using(using).update(step_run=row)
    return made


def _retry(run: Run, now: datetime, using: str, *, wake: Wake | None) -> Sequence[StepRun]:
    if run.status != RunStatus.FAILED:
        hint = "it is not over yet" if not run.is_final else "only a failed run is retried; restart this one"
        raise VerbRefused(f"run {run.pk} is {run.status}: {hint}.")
    program = program_of(run, using)
    revive(run, program, now, using)
    made = new_attempts(run, program, now, using, wake)
    made += jumps_not_taken(run, program, now, using)
    made += missing_rows(run, program, now, using)
    if not made:
        raise VerbRefused(f"run {run.pk} has no step to retry; restart it.")
    run.status = live_status(run, using)
    run.save(using=using)
    return made


def _attempts_of(
    run: Run, program: Program, row: StepRun, items: Sequence[StepRun], now: datetime
) -> list[StepRun]:
    """Return the new attempt of a step, and those of its ``items`` in the same order."""
    parent = plan_retry(step_state(row), now)
    if items:
        parent = replace(parent, status=StepStatus.WAITING, waiting_for=WaitingFor.ITEMS, due_at=None)
    again: list[NewRow] = [plan_retry(step_state(each), now) for each in items]
    slotted = share_slots(program.graph.steps[row.step].max_parallel, again)
    return make_rows(run, program, [parent, *slotted], now, {each.index: each.item for each in items})


def _keep_children(
    old: Sequence[StepRun],
    new: Sequence[StepRun],
    program: Program,
    now: datetime,
    using: str,
    wake: Wake | None,
) -> None:
    """Let new attempts wait for the runs that the old ones called, where these can still give an output.

    A restart stands for the run that was called.
    """
    called = [row.child_id for row in old if row.child_id is not None]
    children = {**Run.objects.using(using).in_bulk(called), **superseded(called, using)}
    for before, row in zip(old, new, strict=True):
        child = None if before.child_id is None else children.get(before.child_id)
        if child is None or RunStatus.CANCELLED in (child.status, child.ending) or has_begun(using, child):
            continue
        result, row.awaits = wait_for_child(program.steps[row.step], now)
        row.status, row.waiting_for = StepStatus.WAITING, result.waiting_for
        row.child_id, row.due_at = child.pk, result.until
        if child.status == RunStatus.FAILED and child.finished_at is not None:
            row.event = event_of(RETRY_CHILD, child.finished_at)
        if wake is not None:
            _wake_after_commit(wake, using, child.pk)


def _keep_approvals(old: Sequence[StepRun], new: Sequence[StepRun]) -> list[tuple[StepRun, StepRun]]:
    """Let new attempts of approvals that the ending cut off keep what was answered; return old and new.

    What a person rejected is asked anew.
    """
    pairs = [
        (before, row)
        for before, row in zip(old, new, strict=True)
        if before.status == StepStatus.CANCELLED and "count" in (before.awaits or {})
    ]
    for before, row in pairs:
        if is_ours(before.event, APPROVED):
            row.awaits, row.event = before.awaits, before.event
    return pairs


def _wake_after_commit(wake: Wake, using: str, child_id: UUID) -> None:
    # No partial: where it raises, Django logs the name that only functions have.
    transaction.on_commit(lambda: wake(using, child_id), using=using, robust=True)
