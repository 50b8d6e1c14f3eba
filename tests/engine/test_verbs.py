"""``cancel_run`` and ``retry_run``: what they do in each status, and that they are recorded."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils import timezone

from django_workflow import Goto, Sleep, cancel_run, define, retry_run, trigger
from django_workflow.engine.control import end_overdue
from django_workflow.exceptions import VerbRefused, WorkflowNotFound
from django_workflow.models import Run, RunAction, StepRun, Workflow
from tests.testapp.models import Note

from .runs import fresh, history, let_time_pass, start, step_run, step_runs, waiting_run

pytestmark = pytest.mark.django_db(transaction=True)
NAP = {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}


@pytest.fixture
def broken(register) -> list[bool]:
    """Return a list: the step ``tests.work`` fails as long as there is something in it."""
    reasons = [True]

    @register("tests.work")
    def work(context) -> str:
        Note.objects.create(text=f"{context.step} {context.attempt}")
        if reasons:
            raise ValueError("broken")
        return "mended"

    return reasons


def calls() -> list[str]:
    return [note.text for note in Note.objects.order_by("pk")]


def run_in(status: str) -> Run:
    """Return a run in that status."""
    if status == "pending":
        run = waiting_run([{"type": "tests.note"}])
    elif status == "waiting":
        run = start([NAP])
    elif status == "failed":
        run = start([{"type": "tests.fail"}])
    elif status == "cancelled":
        run = cancel_run(start([NAP]))
    elif status == "paused":
        run = start([NAP])
        Run.objects.update(status="paused")
    else:
        run = start([{"type": "tests.echo"}])
    assert fresh(run).status == status
    return run


@pytest.mark.parametrize("status", ["pending", "waiting", "paused"])
def test_a_run_that_is_not_final_is_cancelled(status) -> None:
    run = cancel_run(run_in(status))
    assert run.status == fresh(run).status == "cancelled"
    assert fresh(run).finished_at is not None
    assert set(step_runs(run).values_list("status", flat=True)) == {"cancelled"}
    assert let_time_pass(run).status == "cancelled"
    assert calls() == []


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
    def work(context) -> str:
        cancel_run(context.run_id)
        seen.append(fresh(Run.objects.get()).status)
        context.state["kept"] = True
        return "kept"

    run = start([{"name": "work", "type": "tests.work", "next": "work"}, {"name": "after", "type": "tests.note", "needs": []}])
    run = fresh(run)
    assert (seen, run.status, run.output) == (["running"], "cancelled", None)
    assert step_run(run, "work").output == "kept"
    assert step_run(run, "after").status == "cancelled"


def test_a_handler_that_fails_after_cancelling_its_run_leaves_it_cancelled(register) -> None:
    @register("tests.work")
    def work(context) -> None:
        cancel_run(context.run_id)
        raise ValueError("after it")

    run = start([{"name": "work", "type": "tests.work", "retry": {"attempts": 3, "delay": 0}, "on_error": "after"}, {"name": "after", "type": "tests.note"}])
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
    user = User.objects.create_user("ann")
    run = start([NAP])
    cancel_run(run, by=user, note="not needed")
    action = RunAction.objects.get()
    assert (action.run, action.verb, action.by, action.note) == (run, "cancel", user, "not needed")
    assert abs(action.at - timezone.now()) < timedelta(minutes=1)


def test_a_visitor_without_a_row_is_nobody() -> None:
    cancel_run(start([NAP]), by=AnonymousUser())
    assert RunAction.objects.get().by is None


@pytest.mark.parametrize("find", [lambda run: run, lambda run: run.pk, lambda run: str(run.pk), lambda run: ("flow", "k")])
def test_a_run_is_named_by_itself_its_id_or_its_key(find) -> None:
    define("flow", steps=[NAP])
    run = trigger("flow", key="k")
    assert cancel_run(find(run)).pk == run.pk


@pytest.mark.parametrize("run", [uuid4(), str(uuid4()), ("flow", "k"), "no id"])
def test_a_run_that_does_not_exist_is_named(run) -> None:
    with pytest.raises(WorkflowNotFound):
        cancel_run(run)


@pytest.mark.parametrize("status", ["pending", "waiting", "paused", "done", "cancelled"])
def test_only_a_failed_run_is_retried(status) -> None:
    run = run_in(status)
    before = RunAction.objects.count()
    with pytest.raises(VerbRefused, match=f"is {status}"):
        retry_run(run)
    assert (fresh(run).status, RunAction.objects.count()) == (status, before)


def test_retry_goes_on_from_the_failed_step_and_keeps_the_outputs_of_the_others(broken) -> None:
    run = start([{"name": "one", "type": "tests.note"}, {"name": "two", "type": "tests.work"}, {"name": "three", "type": "tests.note"}])
    broken.clear()
    run = retry_run(run, note="mended")
    assert (run.status, run.output, run.error, run.error_type) == ("done", None, "", "")
    assert calls() == ["one", "two 1", "two 2", "three"]
    assert history(run) == ["one:done", "two:failed", "two:done", "three:done"]
    assert list(run.actions.values_list("verb", "note")) == [("retry", "mended")]


def test_retry_counts_the_policy_anew(broken) -> None:
    run = start([{"name": "one", "type": "tests.work", "retry": {"attempts": 2, "delay": 0}}])
    retry_run(run)
    assert calls() == ["one 1", "one 2", "one 3", "one 4"]
    assert fresh(run).status == "failed"


def test_retry_asks_a_condition_that_failed_again() -> None:
    run = start([{"name": "one", "type": "tests.note", "if": "total > 1000"}], {"total": "5"})
    assert run.status == "failed"
    run = retry_run(run)
    assert (fresh(run).status, calls()) == ("failed", [])


def test_retry_runs_again_what_the_ending_cancelled(broken) -> None:
    steps = [
        {"name": "one", "type": "tests.work", "needs": []},
        {"name": "late", "type": "tests.note", "needs": [], "delay": "1h"},
        {"name": "join", "type": "tests.note", "needs": ["one", "late"]},
    ]
    run = start(steps)
    assert sorted(history(run)) == ["late:cancelled", "one:failed"]
    broken.clear()
    retry_run(run)
    assert let_time_pass(run).status == "done"
    assert sorted(calls()) == ["join", "late", "one 1", "one 2"]


def test_retry_starts_what_followed_a_step_that_was_recorded_while_the_run_ended(register) -> None:
    @register("tests.work")
    def work(context) -> str:
        Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
        end_overdue("default", timezone.now())
        return "recorded"

    run = start([{"name": "one", "type": "tests.work"}, {"name": "two", "type": "tests.note"}], timeout="1d")
    assert (run.status, history(run)) == ("failed", ["one:done"])
    run = retry_run(run)
    assert (fresh(run).status, calls()) == ("done", ["two"])
    assert fresh(run).deadline > timezone.now()


def test_retry_follows_the_jump_of_a_step_that_was_recorded_while_the_run_ended(register) -> None:
    @register("tests.work")
    def work(context) -> Goto:
        Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
        end_overdue("default", timezone.now())
        return Goto("three")

    run = start([{"name": "one", "type": "tests.work"}, {"name": "two", "type": "tests.note"}, {"name": "three", "type": "tests.note"}], timeout="1d")
    run = retry_run(run)
    assert calls() == ["three"]


def test_a_retry_rolled_back_runs_nothing(broken) -> None:
    run = start([{"name": "one", "type": "tests.work"}])
    with transaction.atomic():
        retry_run(run)
        assert calls() == ["one 1"]
        transaction.set_rollback(True)
    assert (fresh(run).status, calls(), step_runs(run).count()) == ("failed", ["one 1"], 1)


def test_retry_keeps_the_version_and_a_switched_off_workflow_does_not_stop_it(broken) -> None:
    run = start([{"name": "one", "type": "tests.work"}])
    define("flow", steps=[{"type": "tests.fail"}])
    Workflow.objects.update(enabled=False)
    broken.clear()
    assert retry_run(run).status == "done"


def test_retry_in_the_middle_of_an_error_path_goes_on_there(broken) -> None:
    steps = [
        {"name": "one", "type": "tests.fail", "on_error": "rescue"},
        {"name": "rescue", "type": "tests.work", "needs": "jump"},
        {"name": "after", "type": "tests.echo", "with": {"value": "{{ error.step }}"}},
    ]
    run = start(steps)
    broken.clear()
    run = fresh(retry_run(run))
    assert (run.status, run.output) == ("done", "one")
    assert step_runs(run).filter(step="one").count() == 1


def test_a_note_that_postgresql_would_refuse_is_cleaned() -> None:
    cancel_run(start([NAP]), note="a\0b\ud800")
    assert "\0" not in RunAction.objects.get().note


def test_live_step_runs_are_never_left_in_a_final_run(broken) -> None:
    for status in ("failed", "cancelled", "done"):
        run_in(status)
    assert not StepRun.objects.live().filter(run__status__in=["failed", "cancelled", "done"]).exists()
