"""``on_failure: {workflow: …}``: which failure starts the workflow named there, and with what input."""

from __future__ import annotations

import pytest

from django_workflow import define, restart_run, skip_step, trigger, undo_run
from django_workflow.engine.programs import get_program
from django_workflow.models import Run, WorkflowVersion
from tests.support.runs import fresh, notes, start

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "tests.fail", "with": {"message": "too late"}}
ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": 7}}
ALARM = [{"type": "tests.echo", "with": {"value": "{{ run.id }} {{ error.message }}"}}]


def alarms() -> int:
    """Return how many runs of the workflow ``alarm`` were started."""
    return Run.objects.filter(workflow__name="alarm").count()


def test_on_failure_starts_the_workflow_that_it_names() -> None:
    define(
        "alarm",
        steps=[
            {
                "name": "say",
                "type": "tests.echo",
                "with": {"value": "{{ error.message }} at {{ step }} of {{ run.id }}"},
            }
        ],
    )
    steps = [{"name": "broken", "type": "tests.fail", "with": {"message": "no"}}]
    define("parent", steps=steps, on_failure={"workflow": "alarm"})
    run = fresh(trigger("parent"))
    alarm = Run.objects.get(workflow__name="alarm")
    assert run.status == "failed"
    assert alarm.input["run"]["id"] == str(run.pk)
    assert (alarm.input["step"], alarm.output) == ("broken", f"no at broken of {run.pk}")


def test_skip_of_a_failed_undo_is_no_second_failure(broken: set[int]) -> None:
    broken.add(1)
    define("alarm", steps=ALARM)
    run = start([{**ECHO, "undo": {"type": "tests.may_fail"}}, FAIL], on_failure={"workflow": "alarm"})
    undo_run(run)
    before = alarms()
    skip_step(run, "echo:undo")
    assert alarms() == before


def test_undo_by_a_person_does_not_start_what_on_failure_names_again() -> None:
    define("alarm", steps=[ECHO])
    run = start([{**ECHO, "undo": {"type": "tests.note"}}, FAIL], on_failure={"workflow": "alarm"})
    undo_run(run)
    assert (fresh(run).status, notes()) == ("failed", ["echo:undo"])
    assert Run.objects.filter(workflow__name="alarm").count() == 1


def test_failure_starts_a_workflow_that_declares_other_input_than_the_step() -> None:
    define("alarm", steps=ALARM, input={"level": {"type": "str", "default": "high"}})
    start([FAIL], on_failure={"workflow": "alarm"})
    assert alarms() == 1


def test_run_that_a_failure_started_can_be_restarted_on_the_newest_version() -> None:
    define("alarm", steps=ALARM)
    run = start([FAIL], on_failure={"workflow": "alarm"})
    alarm = Run.objects.get(workflow__name="alarm")
    define("alarm", steps=[*ALARM, {"type": "tests.echo", "with": {"value": "{{ run.id }}"}}])
    assert fresh(restart_run(alarm, newest=True)).output == str(run.pk)


def test_what_on_failure_names_and_nobody_can_read_does_not_keep_the_run_from_failing() -> None:
    define("alarm", steps=[ECHO])
    WorkflowVersion.objects.update(spec=[])
    get_program.cache_clear()
    run = start([FAIL], on_failure={"workflow": "alarm"})
    assert fresh(run).status == "failed"
