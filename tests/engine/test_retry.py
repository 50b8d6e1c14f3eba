"""``retry_run``: the same run goes on from where it failed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from django_workflow import Goto, define, retry_run
from django_workflow.engine.control import end_overdue
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, RunAction, Workflow
from tests.support.runs import fresh, history, let_time_pass, notes, run_in, start, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


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


@pytest.mark.parametrize("status", ["pending", "waiting", "paused", "done", "cancelled"])
def test_only_a_failed_run_is_retried(status) -> None:
    run = run_in(status)
    before = RunAction.objects.count()
    with pytest.raises(VerbRefused, match=f"is {status}"):
        retry_run(run)
    assert (fresh(run).status, RunAction.objects.count()) == (status, before)


def test_retry_goes_on_from_the_failed_step_and_keeps_the_outputs_of_the_others(broken) -> None:
    run = start(
        [
            {"name": "one", "type": "tests.note"},
            {"name": "two", "type": "tests.work"},
            {"name": "three", "type": "tests.note"},
        ]
    )
    broken.clear()
    run = retry_run(run, note="mended")
    assert (run.status, run.output, run.error, run.error_type) == ("done", None, "", "")
    assert notes() == ["one", "two 1", "two 2", "three"]
    assert history(run) == ["one:done", "two:failed", "two:done", "three:done"]
    assert list(run.actions.values_list("verb", "note")) == [("retry", "mended")]


def test_retry_counts_the_policy_anew(broken) -> None:
    run = start([{"name": "one", "type": "tests.work", "retry": {"attempts": 2, "delay": 0}}])
    retry_run(run)
    assert notes() == ["one 1", "one 2", "one 3", "one 4"]
    assert fresh(run).status == "failed"


def test_retry_asks_a_condition_that_failed_again() -> None:
    run = start([{"name": "one", "type": "tests.note", "if": "total > 1000"}], {"total": "5"})
    assert run.status == "failed"
    run = retry_run(run)
    assert (fresh(run).status, notes()) == ("failed", [])


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
    assert sorted(notes()) == ["join", "late", "one 1", "one 2"]


def test_retry_starts_what_followed_a_step_that_was_recorded_while_the_run_ended(register) -> None:
    @register("tests.work")
    def work(context) -> str:
        Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
        end_overdue("default", timezone.now())
        return "recorded"

    run = start([{"name": "one", "type": "tests.work"}, {"name": "two", "type": "tests.note"}], timeout="1d")
    assert (run.status, history(run)) == ("failed", ["one:done"])
    run = retry_run(run)
    assert (fresh(run).status, notes()) == ("done", ["two"])
    assert fresh(run).deadline > timezone.now()


def test_retry_follows_the_jump_of_a_step_that_was_recorded_while_the_run_ended(register) -> None:
    @register("tests.work")
    def work(context) -> Goto:
        Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
        end_overdue("default", timezone.now())
        return Goto("three")

    run = start(
        [
            {"name": "one", "type": "tests.work"},
            {"name": "two", "type": "tests.note"},
            {"name": "three", "type": "tests.note"},
        ],
        timeout="1d",
    )
    run = retry_run(run)
    assert notes() == ["three"]


def test_a_retry_rolled_back_runs_nothing(broken) -> None:
    run = start([{"name": "one", "type": "tests.work"}])
    with transaction.atomic():
        retry_run(run)
        assert notes() == ["one 1"]
        transaction.set_rollback(True)
    assert (fresh(run).status, notes(), step_runs(run).count()) == ("failed", ["one 1"], 1)


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
