"""What waits for a point in time, without a queue: the clock does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed

import pytest
from django.utils import timezone

from django_workflow import RetryAfter, Sleep, WaitForEvent, define
from django_workflow.engine.execute import work
from django_workflow.models import Run
from tests.support.runs import fresh, history, let_time_pass, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
LONG = 36500 * 86400


def is_due_in(run: Run, name: str, wait: timedelta) -> bool:
    row = step_run(run, name, status="waiting")
    return abs(row.due_at - timezone.now() - wait) < timedelta(minutes=1)


@pytest.mark.parametrize("until", [HOUR, "moment"])
def test_sleep_calls_the_handler_again_with_the_event(register, until) -> None:
    calls = []

    @register("tests.nap")
    def nap(context) -> Sleep | str:
        calls.append((context.attempt, context.event and context.event.name))
        context.state["calls"] = len(calls)
        if context.event is None:
            return Sleep(timezone.now() + HOUR if until == "moment" else until)
        assert context.event.at is not None
        return "awake"

    run = start(
        [{"name": "nap", "type": "tests.nap"}, {"type": "tests.echo", "with": {"value": "{{ steps.nap }}"}}]
    )
    assert (run.status, run.state, step_run(run, "nap").waiting_for) == ("waiting", {"calls": 1}, "timer")
    assert is_due_in(run, "nap", HOUR)
    assert work("default") == 0
    run = let_time_pass(run)
    assert (run.status, run.output, run.state) == ("done", "awake", {"calls": 2})
    assert calls == [(1, None), (1, "timer")]
    assert step_run(run, "nap").event is None


def test_a_handler_may_sleep_again_and_again(register) -> None:
    @register("tests.poll")
    def poll(context) -> Sleep | None:
        context.log("called")
        context.state["polls"] = context.state.get("polls", 0) + 1
        return Sleep(HOUR) if context.state["polls"] < 3 else None

    run = start([{"name": "poll", "type": "tests.poll"}])
    run = let_time_pass(let_time_pass(run))
    assert (run.status, run.state) == ("done", {"polls": 3})
    assert step_run(run, "poll").logs == ["called"] * 3


def test_a_moment_that_has_passed_is_no_wait(register) -> None:
    @register("tests.nap")
    def nap(context) -> Sleep | None:
        return Sleep(datetime(2020, 1, 1, tzinfo=UTC)) if context.event is None else None

    assert start([{"type": "tests.nap"}]).status == "done"


@pytest.mark.parametrize(
    "until",
    [
        timedelta.max,
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=fixed(-HOUR)),
        timedelta(days=3_000_000),
    ],
)
def test_a_sleep_beyond_the_calendar_fails_the_step_or_waits(register, until) -> None:
    @register("tests.nap")
    def nap() -> Sleep:
        return Sleep(until)

    assert fresh(start([{"type": "tests.nap"}])).status in ("failed", "waiting")


@pytest.mark.parametrize("params", [{"for": "1h"}, {"until": "2999-01-01T00:00:00Z"}])
def test_flow_sleep_waits(params) -> None:
    run = start([{"name": "nap", "type": "flow.sleep", "with": params}])
    assert (run.status, run.step) == ("waiting", "nap")
    assert let_time_pass(run).status == "done"


def test_delay_waits_before_the_condition_is_asked() -> None:
    run = start(
        [
            {"name": "set", "type": "flow.set", "with": {"go": False}, "needs": []},
            {"name": "late", "type": "tests.echo", "delay": "1h", "if": "go", "needs": []},
        ],
        {"go": True},
    )
    assert run.status == "waiting"
    assert is_due_in(run, "late", HOUR)
    assert step_run(run, "late").started_at is None
    assert sorted(history(let_time_pass(run))) == ["late:skipped", "set:done"]


def test_a_delayed_step_is_called_without_an_event(register) -> None:
    seen = []

    @register("tests.see")
    def see(context) -> None:
        seen.append(context.event)

    let_time_pass(start([{"type": "tests.see", "delay": "1h"}]))
    assert seen == [None]


def test_a_retry_with_a_delay_waits_for_it() -> None:
    retry = {"attempts": 3, "delay": "1h", "backoff": 2, "max_delay": "1d"}
    run = start([{"name": "one", "type": "tests.fail", "retry": retry}])
    assert (run.status, history(run)) == ("waiting", ["one:failed", "one:waiting"])
    assert is_due_in(run, "one", HOUR)
    assert step_run(run, "one", status="waiting").waiting_for == "retry"
    run = let_time_pass(run)
    assert is_due_in(run, "one", 2 * HOUR)
    run = let_time_pass(run)
    assert (run.status, history(run)) == ("failed", ["one:failed"] * 3)


def test_retry_after_calls_again_the_same_attempt(register) -> None:
    attempts = []

    @register("tests.busy")
    def busy(context) -> str:
        attempts.append(context.attempt)
        if len(attempts) < 4:
            raise RetryAfter(HOUR)
        return "done"

    run = start([{"name": "busy", "type": "tests.busy", "retry": {"attempts": 2, "delay": 0}}])
    assert run.status == "waiting"
    assert is_due_in(run, "busy", HOUR)
    for _ in range(3):
        run = let_time_pass(run)
    row = step_run(run, "busy")
    assert (run.status, attempts, row.postponed) == ("done", [1, 1, 1, 1], 3)
    assert (row.error, row.error_type, row.traceback) == ("", "", "")


def test_retry_after_mixes_with_failures_that_count(register) -> None:
    calls = []

    @register("tests.busy")
    def busy(context) -> None:
        calls.append(context.attempt)
        if len(calls) % 2:
            raise RetryAfter(0)
        raise ValueError

    run = start([{"type": "tests.busy", "retry": {"attempts": 2, "delay": 0}}])
    assert (run.status, calls) == ("failed", [1, 1, 2, 2])


def test_retry_after_may_be_raised_a_thousand_times(register) -> None:
    @register("tests.busy")
    def busy() -> None:
        raise RetryAfter(HOUR)

    run = start([{"name": "busy", "type": "tests.busy"}])
    step_runs(run).update(postponed=999)
    assert let_time_pass(run).status == "waiting"
    run = let_time_pass(run)
    assert (run.status, step_run(run, "busy").postponed) == ("failed", 1000)
    assert run.error_type.endswith("RetryAfter")


@pytest.mark.parametrize(("delay", "status"), [(timedelta.max, "waiting"), (1e12, "waiting"), (-5, "done")])
def test_a_delay_beyond_reason_does_not_leave_the_run_stuck(register, delay, status) -> None:
    calls = []

    @register("tests.busy")
    def busy() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RetryAfter(delay)

    assert fresh(start([{"type": "tests.busy"}])).status == status


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (WaitForEvent("paid", timeout=timedelta.max), "waiting"),
        (WaitForEvent("paid", timeout=timedelta.min), "done"),
        (Sleep(timedelta.max), "waiting"),
        (Sleep(timedelta.min), "done"),
        (Sleep(datetime.max.replace(tzinfo=UTC)), "waiting"),
        (Sleep(datetime.min.replace(tzinfo=UTC)), "done"),
    ],
)
def test_a_wait_beyond_reason_does_not_fail_the_step(register, outcome, status) -> None:
    @register("tests.wait")
    def wait(context) -> object:
        return outcome if context.event is None else None

    run = start([{"name": "wait", "type": "tests.wait"}])
    work("default")
    assert fresh(run).status == status


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("120", 120), (" 1.5 ", 1.5), ("0", 0), ("inf", 36500 * 86400), (10**400, 36500 * 86400)],
)
def test_a_delay_may_be_the_text_of_a_header(delay, seconds) -> None:
    assert RetryAfter(delay).delay == timedelta(seconds=seconds)


@pytest.mark.parametrize("delay", ["soon", "", "nan", float("nan"), "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_delay_that_is_no_time_is_refused(delay) -> None:
    with pytest.raises(ValueError, match="give a timedelta, or seconds"):
        RetryAfter(delay)


def test_a_sleeping_branch_does_not_hold_the_others() -> None:
    steps = [
        {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}, "needs": []},
        {"name": "one", "type": "tests.echo", "needs": []},
        {"name": "two", "type": "tests.echo"},
        {"name": "join", "type": "tests.echo", "needs": ["nap", "two"]},
    ]
    run = start(steps)
    assert (run.status, history(run)) == ("waiting", ["nap:waiting", "one:done", "two:done"])
    assert let_time_pass(run).status == "done"


def test_the_clock_drives_the_runs_of_every_workflow_that_are_due() -> None:
    runs = [start([{"type": "tests.echo", "delay": "1h"}]) for _ in range(3)]
    define("another", steps=[{"type": "tests.echo"}])
    for run in runs[:2]:
        step_runs(run).update(due_at=timezone.now() - HOUR)
    assert work("default") == 2
    assert [fresh(run).status for run in runs] == ["done", "done", "pending"]


def test_a_slept_step_whose_handler_was_away_wakes_with_its_event(register, unregister) -> None:
    @register("tests.nap")
    def nap(context) -> Sleep | str:
        return Sleep(HOUR) if context.event is None else context.event.name

    run = start([{"name": "nap", "type": "tests.nap"}])
    unregister("tests.nap")
    run = let_time_pass(run)
    assert step_run(run, "nap").waiting_for == "handler"
    register("tests.nap")(nap)
    run = let_time_pass(run)
    assert (run.status, run.output) == ("done", "timer")
