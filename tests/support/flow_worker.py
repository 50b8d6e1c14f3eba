"""A worker that knows the step types of these tests: started by ``rqworker --worker-class``."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rq import SimpleWorker

from django_workflow import StepContext, step
from tests.testapp.models import Note


class Worker(SimpleWorker):
    """A plain worker; to import it registers the steps below."""


@step("kill.until_cancelled")
def wait_until_cancelled(context: StepContext, folder: str) -> str:
    """Run until somebody cancels the run, and say so: a minute at the most."""
    (Path(folder) / f"{context.run_id}.began").touch()
    until = time.monotonic() + 60
    while not context.cancelled and time.monotonic() < until:
        context.heartbeat()
        threading.Event().wait(0.02)
    Note.objects.create(text=f"{context.step} cancelled: {context.cancelled}")
    return "told"


@step("kill.take_back", atomic=True)
def take_back(context: StepContext, output: object = None) -> None:
    """Undo a step, once."""
    Note.objects.create(text=f"{context.step} {output}", key=f"{context.run_id} {context.step}")
