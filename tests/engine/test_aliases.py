"""Runs on a second database alias: they start, wait and end there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.test import TestCase, override_settings
from django.utils import timezone

from django_workflow import Sleep, cancel_run, define, retry_run, send_event, trigger, trigger_many
from django_workflow.engine.control import end_overdue
from django_workflow.engine.execute import work
from django_workflow.exceptions import WorkflowNotFound
from django_workflow.models import Run, RunAction, StepRun, Workflow
from tests.support.crashes import crash, take_up
from tests.support.runs import fresh, history, let_time_pass, start, step_run
from tests.testapp.models import Note, Order

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class ToOther:
    """A router that sends the app's rows to the second alias."""

    def db_for_write(self, model: type, **hints: object) -> str | None:
        return "other" if model._meta.app_label == "django_workflow" else None

    db_for_read = db_for_write


def count(using: str) -> tuple[int, int, int]:
    return tuple(model.objects.using(using).count() for model in (Workflow, Run, StepRun))


def test_a_run_starts_waits_and_ends_on_its_alias(register) -> None:
    @register("tests.nap")
    def nap(context) -> Sleep | str:
        context.state["called"] = True
        return Sleep(timedelta(hours=1)) if context.event is None else "awake"

    run = start(
        [{"name": "nap", "type": "tests.nap"}, {"type": "tests.echo", "with": {"value": "{{ steps.nap }}"}}],
        using="other",
    )
    assert (run._state.db, run.status) == ("other", "waiting")
    run = let_time_pass(run)
    assert (run.status, run.output, run.state) == ("done", "awake", {"called": True})
    assert count("default") == (0, 0, 0)
    assert count("other") == (1, 1, 2)


def test_the_clock_of_one_alias_leaves_the_other_alone() -> None:
    run = start([{"type": "tests.echo", "delay": "1h"}], using="other")
    StepRun.objects.using("other").update(due_at=timezone.now() - timedelta(hours=1))
    assert work("default") == 0
    assert work("other") == 1
    assert fresh(run).status == "done"


def test_a_workflow_has_to_be_published_on_the_alias() -> None:
    define("flow", steps=[{"type": "tests.echo"}])
    with pytest.raises(WorkflowNotFound, match="'other'"):
        trigger("flow", using="other")


def test_both_aliases_may_have_a_workflow_of_one_name() -> None:
    one = start([{"type": "tests.echo", "with": {"value": 1}}])
    two = start([{"type": "tests.echo", "with": {"value": 2}}], using="other")
    assert (one.output, two.output) == (1, 2)
    assert trigger("flow", key="k").was_created
    assert trigger("flow", key="k", using="other").was_created


def test_a_trigger_waits_for_the_commit_of_its_own_alias() -> None:
    define("flow", steps=[{"type": "tests.note"}], using="other")
    with transaction.atomic(using="default"):
        with transaction.atomic(using="other"):
            run = trigger("flow", using="other")
            assert fresh(run).status == "pending"
        assert fresh(run).status == "done"
    with transaction.atomic(using="other"):
        trigger("flow", using="other")
        transaction.set_rollback(True, using="other")
    assert Run.objects.using("other").count() == 1


def test_the_router_says_where_runs_live() -> None:
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.ToOther"]):
        run = start([{"type": "tests.note"}])
    assert (run._state.db, run.status) == ("other", "done")
    assert count("default") == (0, 0, 0)


def test_atomic_covers_the_alias_of_the_run(register) -> None:
    @register("tests.work", atomic=True)
    def write(context) -> None:
        Note.objects.using("other").create(text="with the checkpoint")
        Note.objects.using("default").create(text="by itself")
        raise ValueError

    assert start([{"type": "tests.work"}], using="other").status == "failed"
    assert Note.objects.using("other").count() == 0
    assert Note.objects.using("default").count() == 1


def test_a_reference_keeps_its_alias() -> None:
    here = Order.objects.using("other").create(number="here")
    there = Order.objects.using("default").create(number="there")
    steps = [{"type": "tests.echo", "with": {"value": ["{{ here.number }}", "{{ there.number }}"]}}]
    run = start(steps, {"here": here, "there": there}, using="other")
    assert run.output == ["here", "there"]
    assert run.state["there"]["using"] == "default"
    assert "using" not in run.state["here"]


def test_verbs_and_recovery_work_on_the_alias() -> None:
    run = start([{"name": "one", "type": "tests.note", "delay": "1h"}], using="other")
    crash(run, "one")
    assert take_up("other") == 1
    assert fresh(run).status == "done"
    waiting = trigger("flow", using="other", key="k")
    assert cancel_run(("flow", "k"), using="other").pk == waiting.pk
    assert fresh(waiting).status == "cancelled"
    assert RunAction.objects.using("other").count() == 1
    define("failing", steps=[{"name": "one", "type": "tests.fail"}], using="other")
    failed = trigger("failing", using="other")
    retry_run(failed)
    assert history(failed) == ["one:failed", "one:failed"]


def test_deadlines_are_kept_on_the_alias() -> None:
    run = start([{"type": "flow.sleep", "with": {"for": "2d"}}], timeout="1d", using="other")
    Run.objects.using("other").update(deadline=timezone.now() - timedelta(hours=1))
    assert end_overdue("default", timezone.now()) == 0
    assert end_overdue("other", timezone.now()) == 1
    assert fresh(run).status == "failed"


def test_many_runs_with_items_end_on_the_alias() -> None:
    define(
        "flow",
        steps=[{"type": "tests.echo", "for_each": "values", "with": {"value": "{{ item }}"}}],
        using="other",
    )
    runs = trigger_many("flow", [{"values": [1, 2]}, {"values": [3]}], using="other")
    assert [run.output for run in runs] == [[1, 2], [3]]
    assert runs[0].output_of("tests_echo") == [1, 2]


def test_children_events_and_undo_stay_on_the_alias_of_their_run() -> None:
    wait = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
    echo = {"name": "echo", "type": "tests.echo", "undo": {"type": "tests.note"}}
    call = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}}
    fail = {"name": "broken", "type": "tests.fail"}
    define("child", steps=[wait], using="other")
    define("parent", steps=[echo, call, fail], on_failure="undo", using="other")
    with transaction.atomic():
        run = trigger("parent", using="other")
        child = Run.objects.using("other").get(workflow__name="child")
        send_event(child, "go")
        assert (fresh(run).status, step_run(run, "echo:undo").status) == ("failed", "done")
    define("parent", steps=[call], using="other")
    run = trigger("parent", using="other")
    cancel_run(run)
    assert set(Run.objects.using("other").active()) == set()
    assert not Run.objects.exists()


class TestInsideATestCase(TestCase):
    databases = {"default", "other"}

    def test_callbacks_of_the_alias_drive_the_run(self) -> None:
        define("flow", steps=[{"type": "tests.note_atomically"}], using="other")
        with self.captureOnCommitCallbacks(using="other", execute=True):
            run = trigger("flow", using="other")
        assert fresh(run).status == "done"
