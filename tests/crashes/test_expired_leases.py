"""What a worker that died leaves behind is taken up: rows that are running, with a lease that has expired."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from django_workflow import Sleep, cancel_run, retry_run
from django_workflow.engine.control import end_overdue
from django_workflow.engine.execute import work
from django_workflow.exceptions import LeaseLost
from django_workflow.models import Run, StepRun
from tests.support.crashes import crash, let_leases_expire, take_up
from tests.support.runs import (
    fresh,
    history,
    in_threads,
    let_time_pass,
    notes,
    start,
    step_run,
    step_runs,
    waiting_run,
)
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
FIRST = {"name": "first", "type": "tests.note"}


@pytest.fixture(autouse=True)
def once(register) -> None:
    @register("tests.once", rerun_after_crash=False)
    def once(context) -> None:
        Note.objects.create(text=context.step)


@pytest.mark.parametrize("type", ["tests.note", "tests.note_atomically"])
def test_an_expired_lease_is_taken_up_and_the_step_runs_again(type) -> None:
    run = waiting_run([{"type": type}, {"type": "tests.note"}])
    abandoned = crash(run, "first")
    take_up()
    row = step_run(run, "first")
    assert (fresh(run).status, row.crashes, row.attempt, row.pk) == ("done", 1, 1, abandoned.pk)
    assert row.lease_token is None
    assert notes() == ["first", "tests_note"]


def test_a_lease_that_has_not_expired_is_left_alone() -> None:
    run = waiting_run([FIRST])
    crash(run, "first", due_at=timezone.now() + timedelta(seconds=30))
    assert take_up() == 0
    assert (step_run(run, "first").status, step_run(run, "first").crashes) == ("running", 0)


def test_crashes_are_counted_apart_from_attempts() -> None:
    run = waiting_run([{"type": "tests.fail", "retry": {"attempts": 2, "delay": 0}}])
    crash(run, "first", crashes=1)
    take_up()
    assert list(step_runs(run).order_by("attempt").values_list("attempt", "crashes", "status")) == [
        (1, 2, "failed"),
        (2, 0, "failed"),
    ]


def test_after_max_crashes_the_step_is_poisoned() -> None:
    run = waiting_run([{**FIRST, "retry": {"attempts": 5, "delay": 0}}])
    crash(run, "first", crashes=2)
    take_up()
    run = fresh(run)
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.Poisoned")
    assert "died 3 times" in run.error
    assert (notes(), step_runs(run).count()) == ([], 1)


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "MAX_CRASHES": 1})
def test_the_setting_says_how_many_crashes() -> None:
    run = waiting_run([FIRST])
    crash(run, "first")
    take_up()
    assert fresh(run).error_type == "django_workflow.exceptions.Poisoned"


@pytest.mark.parametrize("on_error", ["rescue", {"Poisoned": "rescue"}, {"PermanentError": "rescue"}])
def test_on_error_applies_to_poison(on_error) -> None:
    run = waiting_run(
        [{**FIRST, "on_error": on_error}, {"name": "rescue", "type": "tests.note", "needs": "jump"}]
    )
    crash(run, "first", crashes=2)
    take_up()
    assert (fresh(run).status, notes()) == ("done", ["rescue"])


def test_a_step_that_must_not_run_twice_fails_as_interrupted_if_it_had_begun() -> None:
    run = waiting_run([{"type": "tests.once", "retry": {"attempts": 3, "delay": 0}}])
    crash(run, "first")
    take_up()
    run = fresh(run)
    assert (run.status, run.error_type, notes()) == ("failed", "django_workflow.exceptions.Interrupted", [])
    assert "unknown" in run.error


def test_a_step_that_must_not_run_twice_runs_if_it_had_not_begun() -> None:
    run = waiting_run([{"type": "tests.once"}])
    crash(run, "first", started=False)
    take_up()
    assert (fresh(run).status, notes()) == ("done", ["first"])


def test_on_error_applies_to_interrupted() -> None:
    run = waiting_run(
        [
            {"type": "tests.once", "on_error": {"Interrupted": "continue"}},
            {"type": "tests.echo", "with": {"value": "{{ errors.first.type }}"}},
        ]
    )
    crash(run, "first")
    take_up()
    assert fresh(run).output == "django_workflow.exceptions.Interrupted"


def test_the_start_of_a_step_that_must_not_run_twice_is_committed_before_the_call(register) -> None:
    seen = []

    @register("tests.see", rerun_after_crash=False)
    def see(context) -> None:
        def look() -> object:
            return StepRun.objects.get(step="see").started_at

        seen.extend(in_threads(look))

    start([{"name": "see", "type": "tests.see"}])
    assert seen[0] is not None


def test_an_interrupted_step_is_run_again_when_a_person_says_so() -> None:
    run = waiting_run([{"type": "tests.once"}])
    crash(run, "first")
    take_up()
    retry_run(run)
    assert (fresh(run).status, notes()) == ("done", ["first"])


def test_a_crash_between_two_steps_costs_nothing() -> None:
    run = waiting_run([FIRST, {"type": "tests.note"}])
    step_runs(run).update(due_at=timezone.now() - timedelta(minutes=1), status="pending", waiting_for="")
    work("default")
    assert notes() == ["first", "tests_note"]


def test_a_crash_of_a_cancelled_run_does_not_run_the_step_again() -> None:
    run = waiting_run([FIRST])
    crash(run, "first", due_at=timezone.now() + timedelta(minutes=1))
    cancel_run(run)
    assert fresh(run).status == "running"
    let_leases_expire(run)
    assert (fresh(run).status, notes()) == ("cancelled", [])
    assert step_runs(run).live().count() == 0


def test_a_crash_of_a_run_past_its_deadline_does_not_run_the_step_again() -> None:
    run = waiting_run([FIRST], timeout="1d")
    crash(run, "first", due_at=timezone.now() + timedelta(minutes=1))
    Run.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    end_overdue("default", timezone.now())
    let_leases_expire(run)
    assert (fresh(run).error_type, notes()) == ("django_workflow.exceptions.RunTimeout", [])


def test_a_crash_after_a_sleep_keeps_the_event(register) -> None:
    @register("tests.nap")
    def nap(context) -> Sleep | str:
        return Sleep(timedelta(hours=1)) if context.event is None else context.event.name

    run = start([{"name": "nap", "type": "tests.nap"}])
    crash(run, "nap", event={"name": "timer", "payload": None, "at": timezone.now().isoformat()})
    take_up()
    assert fresh(run).output == "timer"


def test_an_item_that_crashed_is_taken_up_alone() -> None:
    run = waiting_run(
        [{"type": "flow.sleep", "for_each": "values", "with": {"for": "1h"}}], {"values": [1, 2]}
    )
    run = let_time_pass(run)
    step_runs(run).filter(index=1).update(
        status="running",
        waiting_for="",
        lease_token=uuid4(),
        solo=True,
        event={"name": "timer", "payload": None, "at": timezone.now().isoformat()},
    )
    let_leases_expire(run)
    run = let_time_pass(run)
    assert run.status == "done"
    assert list(step_runs(run).order_by("index").values_list("index", "crashes")) == [(-1, 0), (0, 0), (1, 1)]


def take_over(step: str = "work") -> None:
    """Do what another worker does that takes the step for abandoned."""
    Run.objects.update(revision=F("revision") + 1)
    StepRun.objects.filter(step=step).update(lease_token=uuid4(), crashes=1)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_worker_that_lost_its_lease_writes_nothing(register, atomic) -> None:
    @register("tests.work", atomic=atomic)
    def lose(context) -> str:
        context.state["a"] = 1
        if atomic:
            Note.objects.create(text="lost")
        StepRun.objects.using("default").filter(step="work").update(lease_token=uuid4(), crashes=1)
        return "late"

    run = start([{"name": "work", "type": "tests.work"}, {"type": "tests.note"}])
    row = step_run(run, "work")
    assert (row.status, row.output, fresh(run).state, notes()) == ("running", None, {}, [])


def test_a_worker_whose_run_went_on_without_it_writes_nothing(register) -> None:
    @register("tests.work")
    def lose(context) -> str:
        take_over()
        return "late"

    run = start([{"name": "work", "type": "tests.work"}])
    assert history(run) == ["work:running"]


def test_the_error_of_a_worker_that_lost_its_lease_is_not_recorded(register) -> None:
    @register("tests.work")
    def lose(context) -> None:
        take_over()
        raise ValueError

    run = start([{"name": "work", "type": "tests.work", "on_error": "continue"}])
    assert (history(run), step_run(run, "work").error) == (["work:running"], "")


def test_heartbeat_renews_the_lease_and_says_when_it_is_lost(register) -> None:
    seen = []

    @register("tests.work")
    def lose(context) -> None:
        StepRun.objects.update(lease_until=timezone.now(), due_at=timezone.now())
        context.heartbeat()
        seen.append(StepRun.objects.get().lease_until > timezone.now() + timedelta(seconds=50))
        assert not context.cancelled
        take_over()
        try:
            context.heartbeat()
        except LeaseLost:
            seen.append(context.cancelled)
            raise

    run = start([{"name": "work", "type": "tests.work"}])
    assert seen == [True, True]
    assert history(run) == ["work:running"]


def test_a_change_of_the_run_meanwhile_does_not_lose_the_result(register) -> None:
    @register("tests.work")
    def slow(context) -> str:
        Run.objects.update(revision=F("revision") + 1, state={"by another branch": 1})
        context.state["mine"] = 2
        return "kept"

    run = start([{"name": "work", "type": "tests.work"}])
    assert (run.status, run.output) == ("done", "kept")
    assert run.state == {"by another branch": 1, "mine": 2}


def test_many_workers_run_each_step_of_parallel_branches_once() -> None:
    branches = [{"name": f"branch{number}", "type": "tests.note", "needs": ["first"]} for number in range(6)]
    last = {"name": "last", "type": "tests.note", "needs": [each["name"] for each in branches]}
    runs = [waiting_run([FIRST, *branches, last]) for _ in range(3)]
    StepRun.objects.update(due_at=timezone.now() - timedelta(minutes=1))
    in_threads(*[lambda: work("default")] * 4)
    work("default")
    assert [fresh(run).status for run in runs] == ["done"] * 3
    assert sorted(notes()) == sorted(["first", "last", *(each["name"] for each in branches)] * 3)
    assert StepRun.objects.filter(crashes__gt=0).count() == 0


def test_a_handler_that_exits_is_no_endless_loop(register) -> None:
    @register("tests.exit")
    def leave() -> None:
        raise SystemExit(3)

    with suppress(SystemExit):
        run = start([{"name": "one", "type": "tests.exit"}])
    for _ in range(3):
        with suppress(SystemExit):
            work("default")
    run = Run.objects.get()
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.Poisoned")
    assert step_run(run, "one").crashes == 3
