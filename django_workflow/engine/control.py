"""What operators do to runs.

Cancel and retry, each one short transaction behind the run's lock (ENGINE.md rules 12, 30).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ..definition.program import Program
from ..exceptions import VerbRefused
from ..models import Run, RunAction, StepRun
from ..status import RunStatus, StepStatus, WaitingFor
from ..storable import clean_text
from .endings import cancel_waiting, others_live, retire_steps, skip_steps
from .gate import StaleClaim, lock_run
from .give_back import RunIsBusy, lock_if_free
from .hand_over import hand_over
from .jump import plan_jump
from .new_rows import share_slots
from .now import database_now
from .plan import plan_ready, plan_retry
from .programs import get_program
from .report import overdue, report_error
from .rows import LEADS_TO, make_rows, read_states, run_state, step_state
from .telling import tell_recorded

# Changes a locked run, and returns the step runs that it made ready.
Verb = Callable[[Run, datetime, str], Sequence[StepRun]]


def cancel(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """End a run as cancelled: what waits is cancelled, what runs is told.

    Raises ``VerbRefused`` for a final run.
    """
    return _apply("cancel", _cancel, run, using, by, note)


def retry(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """Go on from the failed steps of a failed run, outputs kept. Raises ``VerbRefused`` for any other run."""
    return _apply("retry", _retry, run, using, by, note)


def end_overdue(using: str, now: datetime) -> int:
    """End the runs whose deadline is over as failed with ``RunTimeout``; return how many."""
    late = Run.objects.using(using).active().filter(ending="", deadline__lte=now)
    count = 0
    for run_id in list(late.order_by("deadline").values_list("pk", flat=True)[:500]):
        with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
            run = lock_if_free(using, run_id)
            if not run.is_final and not run.ending and run.deadline is not None and run.deadline <= now:
                _head_for(run, RunStatus.FAILED, now, using, overdue(run))
                count += 1
    return count


def _apply(name: str, verb: Verb, run: Run, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    now = database_now(using)
    with transaction.atomic(using=using):
        try:
            locked = lock_run(using, run.pk)
        except StaleClaim:
            raise VerbRefused(f"run {run.pk} does not exist any more.") from None
        ready = verb(locked, now, using)
        RunAction.objects.using(using).create(
            run=locked, verb=name, by_id=None if by is None else by.pk, note=clean_text(note), at=now
        )
    if ready:
        hand_over([locked], ready, using=using)
    return locked


def _cancel(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    if run.is_final:
        raise VerbRefused(f"run {run.pk} is {run.status}: a final run cannot be cancelled.")
    _head_for(run, RunStatus.CANCELLED, now, using)
    return ()


def _head_for(run: Run, status: RunStatus, now: datetime, using: str, error: Exception | None = None) -> None:
    """Note the final status; a run of which nothing runs has it at once.

    A run that is ending already keeps its own.
    """
    if not run.ending:
        run.ending = status
        if error is not None:
            report = report_error(error).result
            run.error, run.error_type = str(error), getattr(report, "type", "")
    cancel_waiting(using, run.pk, now)
    if not others_live(using, run.pk, (), running_only=True):
        run.status, run.finished_at = RunStatus(run.ending), now
    run.save(using=using, update_fields=["ending", "status", "finished_at", "error", "error_type"])
    tell_recorded(using, run, ())


def _retry(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    if run.status != RunStatus.FAILED:
        hint = "it is not over yet" if not run.is_final else "only a failed run is retried; trigger a new one"
        raise VerbRefused(f"run {run.pk} is {run.status}: {hint}.")
    assert run.version_id is not None
    program = get_program(run.version_id, using)
    run.status, run.ending, run.error, run.error_type, run.finished_at = RunStatus.RUNNING, "", "", "", None
    if program.spec.timeout is not None:
        run.deadline = now + program.spec.timeout
    rows = _new_attempts(run, program, now, using)
    _insert(rows, using)
    missing = [*_jumps_not_taken(run, program, now, using), *_missing_rows(run, program, now, using)]
    if not rows and not missing:
        raise VerbRefused(f"run {run.pk} has no step to retry; trigger a new run.")
    fields = ["status", "ending", "error", "error_type", "finished_at", "deadline", "jumps"]
    run.save(using=using, update_fields=fields)
    return [*rows, *missing]


def _jumps_not_taken(run: Run, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Take up the jumps of steps that were recorded while the run was ending; return the rows."""
    made: list[StepRun] = []
    noted = (
        StepRun.objects.using(using).current().filter(run=run, status=StepStatus.DONE, event__name=LEADS_TO)
    )
    for row in list(noted.order_by("number")):
        known = read_states(using, run.pk)
        state = run_state(run, program.spec, number=run.revision)
        target = row.event["payload"] if row.event else ""
        planned = plan_jump(program.graph, state, step_state(row), target, rows=known, error=None, now=now)
        skip_steps(using, run.pk, planned.skip, now)
        retire_steps(using, run.pk, planned.retire, now)
        run.jumps = run.jumps if planned.jumps is None else planned.jumps.as_json()
        made += _insert(make_rows(run, program, planned.create, now), using)
    noted.update(event=None)
    return made


def _missing_rows(run: Run, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Insert, and return, what is ready since a step was recorded while the run was ending."""
    state = run_state(run, program.spec, number=run.revision)
    missing = plan_ready(program.graph, state, read_states(using, run.pk), now)
    return _insert(make_rows(run, program, missing, now), using)


def _insert(rows: list[StepRun], using: str) -> list[StepRun]:
    return StepRun.objects.using(using).bulk_create(rows, batch_size=500)


def _new_attempts(run: Run, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Return a new attempt for every step that failed unhandled or was cancelled by the ending.

    The old ones become history.
    """
    current = StepRun.objects.using(using).current().filter(run=run)
    made: list[StepRun] = []
    for row in list(current.to_retry().filter(index=-1)):
        items = list(
            current.to_retry().filter(step=row.step, visit=row.visit, index__gte=0).order_by("index")
        )
        again = [plan_retry(step_state(each), now) for each in items]
        parent = plan_retry(step_state(row), now)
        if items:
            parent = replace(parent, status=StepStatus.WAITING, waiting_for=WaitingFor.ITEMS, due_at=None)
        slotted = share_slots(program.graph.steps[row.step].max_parallel, again)
        made += make_rows(run, program, [parent, *slotted], now, {each.index: each.item for each in items})
        StepRun.objects.using(using).filter(pk__in=[row.pk, *(each.pk for each in items)]).update(
            current=False
        )
    return made
