"""The operator's undo: what the done steps of a run did is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser

from ..exceptions import VerbRefused
from ..models import Run, StepRun
from ..status import RunStatus
from .events import put_back
from .finish import begin_undo
from .undo import failed_undo, has_begun, next_undo
from .verbs import apply_verb, built_on, program_of


def undo(run: Run, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """Undo the done steps of a final run, the latest first; after an undo that failed, try that again.

    Raises ``VerbRefused`` for a run that is not over, was restarted, or has nothing to undo (any more).
    """
    return apply_verb("undo", _undo, run, using=using, by=by, note=note)


def _undo(run: Run, now: datetime, using: str) -> Sequence[StepRun]:
    if not run.is_final:
        raise VerbRefused(f"run {run.pk} is {run.status}: only what is over is undone; cancel it first.")
    newer = built_on(run, using)
    if newer is not None:
        raise VerbRefused(f"run {run.pk} was restarted as {newer.pk}, with its steps: undo that one.")
    if run.version_id is None:
        raise VerbRefused(f"run {run.pk} never began: there is nothing to undo.")
    program = program_of(run, using)
    first = failed_undo(using, run, now=now)
    if first is not None:
        put_back(using, run.step_runs.using(using).filter(undoes=first.undoes))
    else:
        first = next_undo(using, run, program, now=now, number=run.revision)
    if first is None:
        was_undone = has_begun(using, run)
        why = "everything is undone already" if was_undone else "none of its done steps has an undo"
        raise VerbRefused(f"run {run.pk}: {why}.")
    run.ending = RunStatus(run.status)
    return begin_undo(run, program, first, now, using)
