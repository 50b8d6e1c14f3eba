"""A process that is really killed in the middle of a handler, and others that finish its run."""

from __future__ import annotations

from collections.abc import Iterator
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
from tests.support.processes import Process, Processes, wait_until
from tests.support.runs import fresh, history, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
SETUP = "import tests.support.steps_for_tests\n"
TRIGGER = SETUP + "from django_workflow import trigger; trigger('flow', {'marker': %r})"
WORK = SETUP + "from django_workflow.engine.execute import work; print(work('default'))"


class Scripts:
    """Starts Python code in processes of its own, which use the database of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = Processes(folder, QUEUE=None)

    def start(self, code: str, **settings: Any) -> Process:
        script = self.folder / f"script-{len(list(self.processes))}.py"
        script.write_text(code)
        return self.processes.run(script, name="script", **settings)

    def run(self, code: str, **settings: Any) -> str:
        """Return what it writes."""
        script = self.start(code, **settings)
        wait_until(lambda: script.code is not None, what="the end of a script")
        return script.output


@pytest.fixture
def scripts(transactional_db: None, tmp_path: Path) -> Iterator[Scripts]:
    scripts = Scripts(tmp_path)
    with scripts.processes:
        yield scripts


def kill_in_the_middle(scripts: Scripts) -> Run:
    child = scripts.start(TRIGGER % str(scripts.folder / "marker"), LEASE="1m")
    wait_until(lambda: "began\n" in child.output, what="a step")
    child.kill()
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
    scripts: Scripts, step: dict[str, Any], began: int
) -> None:
    define(
        "flow",
        steps=[
            {"name": "one", "type": "tests.note"},
            {"name": "two", **step},
            {"name": "three", "type": "tests.note"},
        ],
    )
    run = kill_in_the_middle(scripts)
    assert (run.status, history(run)) == ("running", ["one:done", "two:running"])

    be_in_touch()
    assert recover_expired("default") == 0, "a lease that has not expired is respected"
    StepRun.objects.live().update(due_at=timezone.now() - timedelta(seconds=1))
    assert scripts.run(WORK) == "0\n", "workers leave to clocks what others have begun"
    assert recover_expired("default") == 1
    assert scripts.run(WORK) == "1\n"

    assert (fresh(run).status, history(run)) == ("done", ["one:done", "two:done", "three:done"])
    row = step_run(run, "two")
    assert (row.crashes, row.attempt, row.output) == (1, 1, "finished")
    assert Note.objects.filter(text="two began").count() == began
    assert Note.objects.filter(text__in=["one", "three"]).count() == 2


def test_the_lease_of_a_long_handler_is_renewed_while_it_runs(scripts: Scripts) -> None:
    define("flow", steps=[{"name": "one", "type": "tests.wait_for_renewals"}])
    scripts.run(TRIGGER % "", LEASE="1s")
    run = Run.objects.get()
    assert (run.status, run.output) == ("done", "renewed twice")
    assert step_run(run, "one").crashes == 0
