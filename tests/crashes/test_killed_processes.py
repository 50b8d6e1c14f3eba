"""A process that is really killed in the middle of a handler, and others that finish its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from django_workflow import define
from django_workflow.engine.recover import recover_expired
from django_workflow.models import Run, StepRun
from tests.support.crashes import be_in_touch
from tests.support.runs import fresh, history, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parent.parent.parent
SETUP = "import django; django.setup(); import tests.support.steps_for_tests\n"
TRIGGER = SETUP + "from django_workflow import trigger; trigger('flow', {'marker': %r})"
SHORT_LEASE = "from django.conf import settings; settings.DJANGO_WORKFLOW = {'QUEUE': None, 'LEASE': '1s'}\n"
WORK = SETUP + "from django_workflow.engine.execute import work; print(work('default'))"


def python(code: str) -> subprocess.Popen[str]:
    """Start a Python that uses the database of the tests."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def kill_in_the_middle(marker: Path) -> Run:
    child = python(TRIGGER % str(marker))
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "began\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    connections.close_all()
    return Run.objects.get()


@pytest.mark.parametrize(
    ("step", "began"),
    [
        ({"type": "tests.stop_at_first_try"}, 2),
        ({"type": "tests.stop_at_first_try_atomically", "with": {"marker": "{{ marker }}"}}, 1),
    ],
    ids=["plain", "atomic"],
)
def test_a_run_whose_process_was_killed_is_finished_by_another(
    tmp_path: Path, step: dict[str, Any], began: int
) -> None:
    define(
        "flow",
        steps=[
            {"name": "one", "type": "tests.note"},
            {"name": "two", **step},
            {"name": "three", "type": "tests.note"},
        ],
    )
    run = kill_in_the_middle(tmp_path / "marker")
    assert (run.status, history(run)) == ("running", ["one:done", "two:running"])

    be_in_touch()
    assert recover_expired("default") == 0, "a lease that has not expired is respected"
    StepRun.objects.live().update(due_at=timezone.now() - timedelta(seconds=1))
    first = python(WORK)
    assert first.communicate()[0] == "0\n", "workers leave to clocks what others have begun"
    assert recover_expired("default") == 1
    second = python(WORK)
    assert second.communicate()[0] == "1\n"

    assert (fresh(run).status, history(run)) == ("done", ["one:done", "two:done", "three:done"])
    row = step_run(run, "two")
    assert (row.crashes, row.attempt, row.output) == (1, 1, "finished")
    assert Note.objects.filter(text="two began").count() == began
    assert Note.objects.filter(text__in=["one", "three"]).count() == 2


def test_the_lease_of_a_long_handler_is_renewed_while_it_runs() -> None:
    define("flow", steps=[{"name": "one", "type": "tests.wait_for_renewals"}])
    child = python(SHORT_LEASE + TRIGGER % "")
    child.communicate(timeout=60)
    run = Run.objects.get()
    assert (run.status, run.output) == ("done", "renewed twice")
    assert step_run(run, "one").crashes == 0
