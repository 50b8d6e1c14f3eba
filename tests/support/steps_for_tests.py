"""Step types for the tests of the engine; processes that a test starts import them too."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from django_workflow import Goto, PermanentError, StepContext, step
from django_workflow.models import StepRun
from tests.testapp.models import Note


@step("tests.echo")
def echo(value: Any = None) -> Any:
    """Give back what is given."""
    return value


@step("tests.echo_atomically", atomic=True)
def echo_atomically(value: Any = None) -> Any:
    """Give back what is given, in the transaction of the checkpoint."""
    return value


@step("tests.note")
def note(context: StepContext, text: str = "") -> None:
    """Write a row, outside of any transaction of the engine's."""
    Note.objects.create(text=text or context.step)


@step("tests.note_atomically", atomic=True)
def note_atomically(context: StepContext, text: str = "") -> None:
    """Write a row in the transaction of the checkpoint."""
    Note.objects.create(text=text or context.step)


@step("tests.fail")
def fail(message: str = "broken") -> None:
    """Fail with an error that a retry might mend."""
    raise ValueError(message)


@step("tests.fail_for_good")
def fail_for_good(message: str = "broken") -> None:
    """Fail with an error that no retry mends."""
    raise PermanentError(message)


@step("tests.goto")
def goto(to: str, output: Any = None) -> Goto:
    """Jump."""
    return Goto(to, output)


@step("tests.stop_at_first_try")
def stop_at_first_try(context: StepContext) -> str:
    """Write a row; the first time, tell the parent process so and wait to be killed."""
    Note.objects.create(text=f"{context.step} began")
    if Note.objects.filter(text=f"{context.step} began").count() == 1:
        _wait_to_be_killed()
    return "finished"


@step("tests.stop_at_first_try_atomically", atomic=True)
def stop_at_first_try_atomically(context: StepContext, marker: str) -> str:
    """The same, in the transaction of the checkpoint; ``marker`` is a file that outlives the rollback."""
    Note.objects.create(text=f"{context.step} began")
    try:
        with open(marker, "x"):
            pass
    except FileExistsError:
        return "finished"
    return _wait_to_be_killed()


@step("tests.wait_for_renewals")
def wait_for_renewals(context: StepContext) -> str:
    """Wait until somebody has renewed the lease of this step twice."""
    row = StepRun.objects.get(run_id=context.run_id, step=context.step)
    seen = {row.lease_until}
    for _ in range(300):
        threading.Event().wait(0.05)
        row.refresh_from_db()
        seen.add(row.lease_until)
        if len(seen) == 3:
            return "renewed twice"
    return "not renewed"


def _wait_to_be_killed() -> str:
    sys.stdout.write("began\n")
    sys.stdout.flush()
    signal.pause()
    return "was not killed"
