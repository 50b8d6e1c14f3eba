"""``cancel_run``: what it does in each status and within a handler, and that it is recorded."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils import timezone

from django_workflow import RetryAfter, Sleep, cancel_run, define, trigger
from django_workflow.engine.execute import work
from django_workflow.exceptions import VerbRefused, WorkflowNotFound
from django_workflow.models import Run, RunAction, StepRun
from tests.support.runs import fresh, history, let_time_pass, notes, run_in, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)
NAP = {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}


@pytest.mark.parametrize("status", ["pending", "waiting", "paused"])
def test_a_run_that_is_not_final_is_cancelled(status) -> None:
    run = cancel_run(run_in(status))
    assert run.status == fresh(run).status == "cancelled"
    assert fresh(run).finished_at is not None
    assert set(step_runs(run).values_list("status", flat=True)) == {"cancelled"}
    assert let_time_pass(run).status == "cancelled"
    assert notes() == []


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_a_final_run_is_not_cancelled(status) -> None:
    run = run_in(status)
    before = RunAction.objects.count()
    with pytest.raises(VerbRefused, match=f"is {status}.*final"):
        cancel_run(run)
    assert (fresh(run).status, RunAction.objects.count()) == (status, before)


def test_a_cancelled_run_keeps_its_running_step_until_it_is_recorded(register) -> None:
    seen = []

    @register("tests.work")
    def keep(context) -> str:
        cancel_run(context.run_id)
        seen.append(fresh(Run.objects.get()).status)
        context.state["kept"] = True
        return "kept"

    run = start(
        [
            {"name": "work", "type": "tests.work", "next": "work"},
            {"name": "after", "type": "tests.note", "needs": []},
        ]
    )
    run = fresh(run)
    assert (seen, run.status, run.output) == (["running"], "cancelled", None)
    assert step_run(run, "work").output == "kept"
    assert step_run(run, "after").status == "cancelled"


def test_a_handler_that_fails_after_cancelling_its_run_leaves_it_cancelled(register) -> None:
    @register("tests.work")
    def work(context) -> None:
        cancel_run(context.run_id)
        raise ValueError("after it")

    run = start(
        [
            {"name": "work", "type": "tests.work", "retry": {"attempts": 3, "delay": 0}, "on_error": "after"},
            {"name": "after", "type": "tests.note"},
        ]
    )
    assert (run.status, run.error, history(run)) == ("cancelled", "", ["work:failed"])


def test_a_handler_that_sleeps_after_cancelling_its_run_is_not_called_again(register) -> None:
    @register("tests.work")
    def work(context) -> Sleep:
        cancel_run(context.run_id)
        return Sleep(timedelta(hours=1))

    run = start([{"name": "work", "type": "tests.work"}])
    assert (run.status, history(run)) == ("cancelled", ["work:cancelled"])


def test_cancelling_twice_within_a_handler_is_one_ending(register) -> None:
    @register("tests.work")
    def work(context) -> None:
        cancel_run(context.run_id, note="one")
        cancel_run(context.run_id, note="two")

    run = start([{"name": "work", "type": "tests.work"}])
    assert run.status == "cancelled"
    assert list(run.actions.values_list("note", flat=True)) == ["one", "two"]


def test_a_cancel_rolled_back_cancels_nothing() -> None:
    run = start([NAP])
    with transaction.atomic():
        cancel_run(run)
        transaction.set_rollback(True)
    assert (fresh(run).status, RunAction.objects.count()) == ("waiting", 0)
    assert let_time_pass(run).status == "done"


def test_who_did_what_when_and_why_is_kept() -> None:
    user = User.objects.create_user("staff")
    run = start([NAP])
    cancel_run(run, by=user, note="not needed")
    action = RunAction.objects.get()
    assert (action.run, action.verb, action.by, action.note) == (run, "cancel", user, "not needed")
    assert abs(action.at - timezone.now()) < timedelta(minutes=1)


def test_a_visitor_without_a_row_is_nobody() -> None:
    cancel_run(start([NAP]), by=AnonymousUser())
    assert RunAction.objects.get().by is None


@pytest.mark.parametrize(
    "find", [lambda run: run, lambda run: run.pk, lambda run: str(run.pk), lambda run: ("flow", "k")]
)
def test_a_run_is_named_by_itself_its_id_or_its_key(find) -> None:
    define("flow", steps=[NAP])
    run = trigger("flow", key="k")
    assert cancel_run(find(run)).pk == run.pk


@pytest.mark.parametrize("run", [UUID(int=7), str(UUID(int=7)), ("flow", "k"), "no id"])
def test_a_run_that_does_not_exist_is_named(run) -> None:
    with pytest.raises(WorkflowNotFound):
        cancel_run(run)


def test_a_note_that_postgresql_would_refuse_is_cleaned() -> None:
    cancel_run(start([NAP]), note="a\0b\ud800")
    assert "\0" not in RunAction.objects.get().note


def test_live_step_runs_are_never_left_in_a_final_run() -> None:
    for status in ("failed", "cancelled", "done"):
        run_in(status)
    assert not StepRun.objects.live().filter(run__status__in=["failed", "cancelled", "done"]).exists()


def test_a_step_that_asks_for_more_time_has_not_failed_when_its_run_is_cancelled(register) -> None:
    @register("tests.ask_for_time")
    def ask_for_time(context) -> None:
        cancel_run(context.run_id)
        raise RetryAfter(60)

    run = start([{"name": "ask", "type": "tests.ask_for_time"}])
    assert (fresh(run).status, step_run(run, "ask").status) == ("cancelled", "cancelled")


def test_an_item_that_asks_for_more_time_has_not_failed_when_another_one_did(register) -> None:
    @register("tests.ask_or_fail")
    def ask_or_fail(context) -> None:
        if context.item:
            raise ValueError("broken")
        work("default")
        raise RetryAfter(60)

    each = {"name": "each", "type": "tests.ask_or_fail", "for_each": "values"}
    run = start([each], {"values": [0, 1]})
    assert [step_run(run, "each", index=index).status for index in (0, 1)] == ["cancelled", "failed"]
    assert fresh(run).status == "failed"
