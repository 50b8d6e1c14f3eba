"""The end of a run of which nothing is left to record: final, or its undo begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..definition.program import Program
from ..models import Run, StepRun
from ..status import RunStatus
from .calling import call_on_failure
from .driving import pass_on
from .moves import NewRow
from .programs import get_program
from .rows import make_rows
from .telling import tell_recorded
from .undo import failed_step, has_begun, next_undo, undo_of_recorded

UNDO_ON_FAILURE = "undo"


def finish(run: Run, status: RunStatus, now: datetime, using: str, ended: Sequence[StepRun] = ()) -> None:
    """Save a locked run as ``status``; or as going on, where its undo begins now.

    ``ended`` are its step runs that ended just now, to be told of.
    """
    program = None if run.version_id is None else get_program(run.version_id, using)
    first = None if program is None else undo_of_failure(run, status, program, now, using)
    if program is not None and first is not None:
        run.ending = status
        begin_undo(run, program, first, now, using)
    else:
        run.status, run.finished_at = status, now
        if status == RunStatus.FAILED and has_begun(using, run):
            run.step = failed_step(using, run)
        run.save(using=using)
        if program is not None and status == RunStatus.FAILED:
            call_on_failure(run, program, using)
    tell_recorded(using, run, ended)


def undo_of_failure(
    run: Run, status: RunStatus, program: Program, now: datetime, using: str, done: Sequence[StepRun] = ()
) -> NewRow | None:
    """Return the first undo of a run that is about to be final as ``status``, where it has to be undone.

    ``done`` are the step runs that become done right now: they are undone before all others.
    """
    if status != RunStatus.FAILED or program.spec.on_failure != UNDO_ON_FAILURE or has_begun(using, run):
        return None
    recorded = undo_of_recorded(program, done, now=now, number=run.revision)
    return recorded or next_undo(using, run, program, now=now, number=run.revision)


def begin_undo(run: Run, program: Program, first: NewRow, now: datetime, using: str) -> list[StepRun]:
    """Insert an undo of a locked run, which is running again, and let it be executed after the commit."""
    rows = StepRun.objects.using(using).bulk_create(make_rows(run, program, [first], now))
    run.status, run.step, run.finished_at = RunStatus.RUNNING, first.step, None
    run.save(using=using)
    pass_on(using, [run.pk], rows)
    return rows
