"""Step types of the test app."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import django_rq

from django_workflow import Condition, Goto, StepContext, StepName, step

from .models import Note


@step("testapp.branch", idempotent=True)
def branch(
    if_: Annotated[Condition, "What is asked."],
    then: StepName,
    else_: StepName | None = None,
) -> Goto | None:
    """Do what flow.branch does: the built-in types use only what @step offers everybody."""
    target = then if if_ else else_
    return None if target is None else Goto(target)


def _count(context: StepContext, ms: int = 0) -> int:
    """Note the call in a row, and count in the state: a step that is recorded twice counts twice.

    Takes so many milliseconds.
    """
    threading.Event().wait(ms / 1000)
    Note.objects.create(text=f"{context.run_id} {context.step}")
    counted = int(context.state.get("counted", 0)) + 1
    context.state["counted"] = counted
    return counted


@step("testapp.count")
def count(context: StepContext, ms: int = 0) -> int:
    """Count, at least once."""
    return _count(context, ms)


@step("testapp.count_atomically", atomic=True)
def count_atomically(context: StepContext, ms: int = 0) -> int:
    """Count, exactly once."""
    return _count(context, ms)


@step("testapp.count_idempotently", idempotent=True)
def count_idempotently(context: StepContext, ms: int = 0) -> int:
    """Count, and say that a second time does no harm."""
    return _count(context, ms)


@step("testapp.count_once", rerun_after_crash=False)
def count_once(context: StepContext, folder: str = "") -> int:
    """Count, at most once."""
    counted = _count(context)
    if folder:
        _hold(context, folder)
    return counted


@step("testapp.hold")
def hold(context: StepContext, folder: str) -> int:
    """Count, and go on when the test says so."""
    counted = _count(context)
    _hold(context, folder)
    return counted


@step("testapp.hold_atomically", atomic=True)
def hold_atomically(context: StepContext, folder: str) -> int:
    """The same, in the transaction of the checkpoint."""
    counted = _count(context)
    _hold(context, folder)
    return counted


@step("testapp.hold_idempotently", idempotent=True)
def hold_idempotently(context: StepContext, folder: str = "") -> int:
    """The same, where a folder is named, and share a commit with others."""
    counted = _count(context)
    if folder:
        _hold(context, folder)
    return counted


@step("testapp.die", idempotent=True)
def die(context: StepContext, folder: str, times: int = 0) -> int:
    """Kill the process that calls it, so many times."""
    deaths = Path(folder)
    for number in range(times):
        try:
            (deaths / f"{context.run_id}-{number}.died").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
    return _count(context)


# A process of an older release does not know it.
if os.environ.get("WORKFLOW_TEST_RELEASE") != "old":

    @step("testapp.newest")
    def newest(context: StepContext) -> int:
        """Count, in the newest release."""
        return _count(context)


def _hold(context: StepContext, folder: str) -> None:
    """Say by a file that the handler runs, and wait for the file that lets all handlers go on."""
    began = Path(folder) / f"{context.run_id}.{os.getpid()}.began"
    began.touch()
    while not (Path(folder) / "go").exists():
        threading.Event().wait(0.02)


def note_job(text: str) -> None:
    """A job of the project's own, beside the engine's."""
    Note.objects.create(text=text)


def repeat_job(folder: str) -> None:
    """A job of the project's own that puts itself into the queue again, until the test says stop."""
    Note.objects.create(text="repeated")
    if not (Path(folder) / "stop").exists():
        django_rq.get_queue("default", commit_mode="auto").enqueue(repeat_job, folder)
