"""Runs execute the version they began with, whatever happens to the draft."""

from __future__ import annotations

import pytest

from django_workflow import define, trigger
from django_workflow.engine.publish import publish
from django_workflow.models import Run, Step, StepRun, Workflow
from tests.support.runs import fresh, let_time_pass, notes, start, step_runs, waiting_run

pytestmark = pytest.mark.django_db(transaction=True)
OLD = [
    {"name": "first", "type": "tests.note"},
    {"name": "second", "type": "tests.note", "with": {"text": "old"}},
]


def test_publishing_while_a_run_is_under_way_does_not_change_it() -> None:
    run = waiting_run(OLD)
    workflow = define(
        "flow", steps=[{"name": "first", "type": "tests.fail"}, {"name": "third", "type": "tests.note"}]
    )
    assert workflow.published.number == 2
    run = let_time_pass(run)
    assert (run.status, run.version.number, notes()) == ("done", 1, ["first", "old"])
    assert trigger("flow").version.number == 2


def test_editing_the_draft_changes_neither_old_nor_new_runs_until_it_is_published() -> None:
    run = waiting_run(OLD)
    Step.objects.filter(name="second").update(params={"text": "edited"})
    Step.objects.filter(name="first").update(delay="")
    assert let_time_pass(run).status == "done"
    assert notes() == ["first", "old"]
    workflow = Workflow.objects.get()
    assert publish(workflow, using="default").number == 2
    trigger("flow")
    assert notes() == ["first", "old", "first", "edited"]


def test_deleting_every_step_of_the_draft_does_not_change_a_run_under_way() -> None:
    run = waiting_run(OLD)
    Step.objects.all().delete()
    assert let_time_pass(run).status == "done"
    assert notes() == ["first", "old"]


def test_a_version_published_in_the_middle_of_a_handler_does_not_change_its_run(register) -> None:
    @register("tests.publish")
    def publish_another(context) -> None:
        define("flow", steps=[{"type": "tests.fail"}])

    run = start([{"type": "tests.publish"}, {"type": "tests.note"}])
    assert (run.status, notes()) == ("done", ["tests_note"])


def test_two_runs_of_two_versions_go_on_side_by_side() -> None:
    runs = []
    for text in ("one", "two"):
        runs.append(
            waiting_run(
                [{"type": "tests.note"}, {"name": "say", "type": "tests.note", "with": {"text": text}}]
            )
        )
    StepRun.objects.update(due_at=None)
    for run in runs:
        step_runs(run).update(due_at="2020-01-01T00:00:00Z")
    let_time_pass(runs[0])
    assert [fresh(run).status for run in runs] == ["done", "done"]
    assert sorted(notes()) == ["first", "first", "one", "two"]


def test_an_unchanged_definition_makes_no_new_version() -> None:
    first, second = define("flow", steps=OLD), define("flow", steps=OLD)
    assert first.published_id == second.published_id
    assert first.versions.count() == 1


def test_switching_off_lets_a_run_under_way_finish() -> None:
    run = waiting_run(OLD)
    Workflow.objects.update(enabled=False)
    assert let_time_pass(run).status == "done"
    assert trigger("flow").status == "cancelled"
    assert Run.objects.count() == 2
