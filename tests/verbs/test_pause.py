"""``pause_run`` and ``resume_run``: nothing more starts, nothing is lost, and what came due happens then."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_workflow import Goto, cancel_run, pause_run, resume_run, retry_run, send_event
from django_workflow.engine.control import end_overdue
from django_workflow.engine.execute import work
from django_workflow.engine.recover import recover_worker
from django_workflow.engine.stuck import find_stuck
from django_workflow.engine.tick import has_ready
from django_workflow.models import Run
from tests.support.runs import abandon, fresh, history, let_time_pass, notes, start, step_run, step_runs
from tests.support.states import hold, run_in

pytestmark = pytest.mark.django_db(transaction=True)
NAP = {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}
AFTER = {"name": "after", "type": "tests.note"}


@pytest.fixture
def pausing(register) -> None:
    """Register ``tests.pause``, during which its run is paused."""

    @register("tests.pause")
    def pause(context, goto: str = "", fails: bool = False) -> object:
        if context.attempt == context.visit == 1 and not context.index:
            pause_run(context.run_id)
            if fails:
                raise ValueError("no")
        return Goto(goto) if goto and context.visit == 1 else context.step


@pytest.mark.usefixtures("pausing")
@pytest.mark.parametrize(
    ("fields", "ready"),
    [
        ({}, "after"),
        ({"next": "after"}, "after"),
        ({"with": {"goto": "one"}}, "one"),
        ({"with": {"fails": True}, "retry": {"attempts": 2, "delay": 0}}, "one"),
        ({"with": {"fails": True}, "on_error": "continue"}, "after"),
        ({"for_each": "values"}, "one"),
        ({"for_each": "values", "max_parallel": 1}, "one"),
    ],
)
def test_what_runs_is_recorded_and_what_follows_is_ready_at_resume(fields, ready) -> None:
    run = start([{"name": "one", "type": "tests.pause", **fields}, AFTER], {"values": [1, 2]})
    assert (run.status, notes()) == ("paused", [])
    pending = step_runs(run).filter(status="pending")
    assert list(pending.values_list("step", flat=True)) == [ready]
    assert not has_ready("default", "")
    assert work("default") == 0
    resume_run(run)
    assert (fresh(run).status, notes()) == ("done", ["after"])


@pytest.mark.usefixtures("pausing")
def test_a_paused_run_whose_last_step_is_recorded_is_done() -> None:
    run = start([{"name": "one", "type": "tests.pause"}])
    assert (run.status, run.output) == ("done", "one")


def test_a_timer_that_comes_due_in_the_pause_goes_off_at_resume() -> None:
    run = start([NAP, AFTER])
    due_at = step_run(run, "nap").due_at
    pause_run(run)
    assert step_run(run, "nap").due_at == due_at
    assert let_time_pass(run).status == "paused"
    resume_run(run)
    assert (fresh(run).status, notes()) == ("done", ["after"])


def test_a_timer_that_is_not_due_at_resume_is_waited_for() -> None:
    run = start([NAP, AFTER])
    pause_run(run)
    assert resume_run(run).status == fresh(run).status == "waiting"
    assert let_time_pass(run).status == "done"


def test_a_run_that_had_not_begun_is_pending_again() -> None:
    run = run_in("pending")
    pause_run(run)
    assert resume_run(run).status == fresh(run).status == "pending"


def test_a_run_with_a_step_under_way_is_running_again() -> None:
    run = run_in("running")
    due_at = step_run(run, "work").due_at
    pause_run(run)
    assert resume_run(run).status == "running"
    assert step_run(run, "work").due_at == due_at


def test_an_event_that_comes_in_the_pause_is_taken_up_at_resume() -> None:
    run = start([{"name": "one", "type": "flow.wait", "with": {"event": "paid"}}, AFTER])
    pause_run(run)
    assert send_event(run, "paid", 12)
    row = step_run(run, "one")
    assert (fresh(run).status, row.status, row.due_at) == ("paused", "pending", None)
    resume_run(run)
    assert fresh(run).status == "done"
    assert run.output_of("one") == {"event": "paid", "payload": 12}


def test_a_deadline_that_passes_in_the_pause_ends_the_run_at_resume_and_a_retry_gives_another() -> None:
    run = start([NAP, AFTER], timeout="1d")
    pause_run(run)
    Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    assert end_overdue("default", timezone.now()) == 0
    assert fresh(run).status == "paused"
    run = resume_run(run)
    assert (run.status, fresh(run).error_type) == ("failed", "django_workflow.exceptions.RunTimeout")
    retry_run(run)
    assert fresh(run).deadline > timezone.now()
    assert let_time_pass(run).status == "done"


def test_a_step_whose_worker_died_in_the_pause_is_ready_at_resume() -> None:
    run = start([NAP, AFTER])
    abandon(run, "nap", worker="gone:1")
    pause_run(run)
    recover_worker("default", "gone:1")
    row = step_run(run, "nap")
    assert (row.status, row.due_at) == ("pending", None)
    resume_run(run)
    assert step_run(run, "nap").due_at is not None
    assert find_stuck("default") == []


def test_a_paused_run_is_not_stuck() -> None:
    run = run_in("paused")
    step_runs(run).live().update(status="pending", waiting_for="", due_at=None)
    assert find_stuck("default") == []


def test_a_paused_run_that_is_cancelled_while_a_step_runs_is_ending() -> None:
    run = hold(start([NAP, AFTER]), "nap")
    pause_run(run)
    run = cancel_run(run)
    assert (run.status, run.ending, history(run)) == ("running", "cancelled", ["nap:running"])
