"""What the verbs of operators share: one short transaction behind the run's lock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef

from ..definition.program import Program
from ..exceptions import VerbRefused
from ..models import Run, RunAction, StepRun
from ..status import RunStatus
from ..storable import clean_text
from .endings import cancel_waiting, final_output, others_live, others_move
from .finish import finish
from .gate import StaleClaim, lock_run
from .hand_over import hand_over
from .now import database_now
from .programs import get_program
from .report import report_error
from .telling import tell_calls_ended, tell_recorded

RESTART = "restart"

# Changes a locked run, and returns the step runs that it made ready.
Verb = Callable[[Run, datetime, str], Sequence[StepRun]]


def apply_verb(
    name: str,
    verb: Verb,
    run: Run,
    *,
    using: str,
    by: AbstractBaseUser | None,
    note: str,
    step: str = "",
) -> Run:
    """Do ``verb`` to a run, note who did it and why, and return the run as it then is.

    Raises ``VerbRefused``, also for a run that was deleted; then nothing is changed or noted.
    """
    now = database_now(using)
    with transaction.atomic(using=using):
        locked = lock(run, using)
        ready = verb(locked, now, using)
        note_action(locked, name, now, using, by=by, note=note, step=step)
    if ready and locked.status != RunStatus.PAUSED:
        hand_over([locked], ready, using=using)
    return locked


def lock(run: Run, using: str) -> Run:
    """Lock the run and return it as it is now. Raises ``VerbRefused`` where it was deleted."""
    try:
        return lock_run(using, run.pk)
    except StaleClaim:
        raise VerbRefused(f"run {run.pk} does not exist any more.") from None


def note_action(
    run: Run,
    verb: str,
    now: datetime,
    using: str,
    *,
    by: AbstractBaseUser | None,
    note: str,
    step: str = "",
) -> None:
    """Keep who did what to the run, when and why."""
    RunAction.objects.using(using).create(
        run=run, verb=verb, step=step, by_id=None if by is None else by.pk, note=clean_text(note), at=now
    )


def built_on(run: Run, using: str) -> Run | None:
    """Return the newest run that was restarted from a step of this one, and so has copies of its steps."""
    from_step = RunAction.objects.using(using).filter(verb=RESTART).exclude(step="")
    restarts = Run.objects.using(using).filter(restarted_from=run)
    return restarts.filter(Exists(from_step.filter(run=OuterRef("pk")))).order_by("pk").last()


def superseded(run_ids: Collection[UUID], using: str) -> dict[UUID, Run]:
    """Return, by the id of each run that was restarted, the newest run that stands for it now.

    A cancelled restart stands for nothing; one of its own may.
    """
    found: dict[UUID, Run] = {}
    earliest = {run_id: run_id for run_id in run_ids}
    while earliest:
        restarts = Run.objects.using(using).filter(restarted_from__in=earliest).order_by("pk")
        later = {}
        for newer in restarts:
            assert newer.restarted_from_id is not None
            later[newer.pk] = earliest[newer.restarted_from_id]
            if RunStatus.CANCELLED not in (newer.status, newer.ending):
                found[later[newer.pk]] = newer
        earliest = later
    return found


def program_of(run: Run, using: str) -> Program:
    """Return the published definition that the run executes. Raises ``VerbRefused`` where it has none."""
    if run.version_id is None:
        raise VerbRefused(f"run {run.pk} never began, and has no version: trigger a new run.")
    return get_program(run.version_id, using)


def refuse_ending(run: Run, verb: str) -> None:
    """Raise ``VerbRefused`` for a run that is over, or about to be."""
    if run.is_final:
        raise VerbRefused(f"run {run.pk} is {run.status}: a final run cannot be {verb}.")
    if run.ending:
        raise VerbRefused(
            f"run {run.pk} is ending as {run.ending}, and cannot be {verb}: it is over when what still runs "
            "has ended; then it can be retried, where it failed, or restarted."
        )


def head_for(run: Run, status: RunStatus, now: datetime, using: str, error: Exception | None = None) -> None:
    """Note the final status of a locked run; one of which nothing runs has it at once.

    A run that is ending already keeps its own.
    """
    if not run.ending:
        run.ending = status
        if error is not None:
            report = report_error(error).result
            run.error, run.error_type = str(error), getattr(report, "type", "")[:255]
    cancel_waiting(using, run.pk, now)
    if run.version_id is not None and program_of(run, using).has_calls:
        tell_calls_ended(using, run)
    if not others_live(using, run.pk, (), running_only=True):
        finish(run, RunStatus(run.ending), now, using)
        return
    if run.status == RunStatus.PAUSED:
        # Nothing of it starts any more: there is nothing left to be resumed.
        run.status = RunStatus.RUNNING
    run.save(using=using)


def go_on(run: Run, program: Program, now: datetime, using: str, *, ended: Sequence[StepRun] = ()) -> None:
    """Save a locked run with the status that its step runs give it: done where none of them is live.

    ``ended`` are those that ended just now, to be told of.
    """
    if others_live(using, run.pk, (), running_only=False):
        if run.status != RunStatus.PAUSED:
            run.status = live_status(run, using)
        run.save(using=using)
        tell_recorded(using, run, ended)
    else:
        run.output = final_output(using, run.pk, program.graph, {}, ())
        finish(run, RunStatus.DONE, now, using, ended)


def live_status(run: Run, using: str) -> RunStatus:
    """Return the status of a run that is neither over nor paused, by its step runs."""
    if run.started_at is None:
        return RunStatus.PENDING
    return RunStatus.RUNNING if others_move(using, run.pk, ()) else RunStatus.WAITING
