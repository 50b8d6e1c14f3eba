"""What an operator does to a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from ..engine import callers, control, restart, retry, skip
from ..engine import undo_run as undo
from ..models import Run
from .finding import RunLike, alias_of, find_run, known_user


def cancel_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """End ``run`` (a Run, its id, or ``(workflow name, key)``) as cancelled.

    What waits ends at once, what runs is told.

    Returns the run as it then is. Raises ``VerbRefused`` for a final run, ``WorkflowNotFound`` for one that
    does not exist.
    """
    found = find_run(run, using)
    return control.cancel(found, using=alias_of(found), by=known_user(by), note=note)


def pause_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Let nothing more of ``run`` start until it is resumed.

    What runs is finished and recorded; events are kept, and timers count on. Returns the run as it then is.
    Raises ``VerbRefused`` for a run that is final, ending or paused already.
    """
    found = find_run(run, using)
    return control.pause(found, using=alias_of(found), by=known_user(by), note=note)


def resume_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Let a paused ``run`` go on: what came due meanwhile happens now, its deadline too.

    Returns the run as it then is. Raises ``VerbRefused`` for a run that is not paused.
    """
    found = find_run(run, using)
    return control.resume(found, using=alias_of(found), by=known_user(by), note=note)


def retry_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Go on with a failed ``run`` from its failed steps; the outputs of the others are kept.

    Returns the run as it then is. Raises ``VerbRefused`` for a run that is not failed.
    """
    found = find_run(run, using)
    return retry.retry(found, using=alias_of(found), by=known_user(by), note=note, wake=callers.wake_callers)


def restart_run(
    run: RunLike,
    *,
    from_step: str | None = None,
    input: Mapping[str, Any] | None = None,
    newest: bool = False,
    by: AbstractBaseUser | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Start a new run in place of a final one, and return it; it gets the key, and the old one loses it.

    It has the same input and version, unless ``input`` is given or the ``newest`` published version asked
    for. ``from_step``: what ended well and does not come after that step is copied, the state that it left
    too; the new run goes on from there::

        restart_run(run, from_step="charge", newest=True, by=request.user, note="the provider was down")

    Raises ``VerbRefused`` for a run that is not over, for an unknown step and for a workflow that is switched
    off; ``ParamsError`` for input that does not fit.
    """
    found = find_run(run, using)
    asked = restart.Restart(from_step=from_step, input=input, newest=newest)
    return restart.restart(found, asked, using=alias_of(found), by=known_user(by), note=note)


def skip_step(
    run: RunLike,
    step: str,
    output: Any = None,
    *,
    by: AbstractBaseUser | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Pass over a ``step`` that waits, or whose failure ended ``run``: it is skipped, with that ``output``.

    What follows starts as if it were done; what it waited for counts no more. ``"<name>:undo"`` names the
    undo of a step. Returns the run as it then is. Raises ``VerbRefused`` where the step neither waits nor has
    failed, ``NotStorable`` for an output that cannot be kept.
    """
    found = find_run(run, using)
    alias, wake = alias_of(found), callers.wake_callers
    return skip.skip(found, step, output, using=alias, by=known_user(by), note=note, wake=wake)


def undo_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Take back what the done steps of a ``run`` did, by their ``undo``, the latest first, each once.

    For a run that is over, however it ended; it has that status again when everything is undone. After an
    undo that failed, tries that one again and goes on. Returns the run as it then is. Raises ``VerbRefused``
    for a run that is not over, was restarted, or has nothing to undo.
    """
    found = find_run(run, using)
    return undo.undo(found, using=alias_of(found), by=known_user(by), note=note)
