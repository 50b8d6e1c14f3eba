"""Handlers past their timeout, and runs past their deadline."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from datetime import timedelta
from threading import Event, current_thread, main_thread
from uuid import UUID

import pytest
from django.test import override_settings
from django.utils import timezone

from django_workflow import pause_run, resume_run
from django_workflow.engine import control
from django_workflow.engine.control import end_overdue
from django_workflow.engine.give_back import lock_if_free
from django_workflow.models import Run
from tests.support.runs import fresh, history, in_threads, let_time_pass, start, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
LONG = 30.0
SHORT = 0.05
TIMED_OUT = "django_workflow.exceptions.StepTimeout"


def is_interrupted(begun: float) -> bool:
    return time.monotonic() - begun < LONG / 2


@pytest.mark.parametrize("atomic", [False, True])
def test_a_handler_past_its_timeout_is_interrupted_in_a_main_thread(register, atomic) -> None:
    @register("tests.slow", atomic=atomic)
    def slow(context) -> None:
        context.log("began")
        context.state["a"] = 1
        if atomic:
            Note.objects.create(text="lost")
        Event().wait(LONG)

    begun = time.monotonic()
    run = start([{"name": "slow", "type": "tests.slow", "timeout": SHORT}])
    assert is_interrupted(begun)
    assert current_thread() is main_thread()
    assert (run.status, run.error_type, run.state) == ("failed", TIMED_OUT, {})
    assert "'slow' ran longer than its timeout of 0:00:00.05" in run.error
    assert step_run(run, "slow").logs == ["began"]
    assert Note.objects.count() == 0


def test_a_handler_that_catches_every_exception_is_interrupted_too(register) -> None:
    @register("tests.stubborn")
    def stubborn() -> str:
        with suppress(Exception):
            Event().wait(LONG)
        return "late"

    assert start([{"type": "tests.stubborn", "timeout": SHORT}]).error_type == TIMED_OUT


def test_elsewhere_the_result_is_judged_when_the_handler_returns(register) -> None:
    @register("tests.slow")
    def slow(context) -> str:
        assert current_thread() is not main_thread()
        context.state["a"] = 1
        until = time.monotonic() + 2 * SHORT
        while time.monotonic() < until:
            pass
        return "late"

    [run] = in_threads(lambda: start([{"name": "slow", "type": "tests.slow", "timeout": SHORT}]))
    assert (run.status, run.error_type, run.state) == ("failed", TIMED_OUT, {})
    assert step_run(run, "slow").output is None


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_an_async_handler_is_cancelled(register, in_main_thread) -> None:
    seen = []

    @register("tests.slow")
    async def slow() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    begun = time.monotonic()
    steps = [{"type": "tests.slow", "timeout": SHORT}]
    [run] = [start(steps)] if in_main_thread else in_threads(lambda: start(steps))
    assert is_interrupted(begun)
    assert (run.status, run.error_type, seen) == ("failed", TIMED_OUT, ["cancelled"])


def test_a_timeout_error_of_the_handlers_own_is_no_timeout_of_the_step(register) -> None:
    @register("tests.own")
    async def own() -> None:
        raise TimeoutError("the server's")

    run = start([{"type": "tests.own", "timeout": LONG}])
    assert (run.error_type, run.error) == ("TimeoutError", "the server's")


def test_a_timeout_is_an_attempt_that_policy_and_on_error_see(register) -> None:
    @register("tests.slow")
    def slow(context) -> None:
        Event().wait(LONG)

    steps = [
        {
            "name": "slow",
            "type": "tests.slow",
            "timeout": SHORT,
            "retry": {"attempts": 2, "delay": 0, "errors": ["StepTimeout"]},
            "on_error": {"StepTimeout": "rescue"},
        },
        {"name": "rescue", "type": "tests.echo", "needs": "jump"},
    ]
    assert history(start(steps)) == ["slow:failed", "slow:failed", "rescue:done"]


def test_the_timeout_is_the_steps_else_the_handlers_else_the_settings(register) -> None:
    @register("tests.slow", timeout=SHORT)
    def slow() -> str:
        Event().wait(3 * SHORT)
        return "in time"

    @register("tests.plain")
    def plain() -> str:
        Event().wait(3 * SHORT)
        return "in time"

    assert start([{"type": "tests.slow"}]).error_type == TIMED_OUT
    assert start([{"type": "tests.slow", "timeout": LONG}]).status == "done"
    assert start([{"type": "tests.slow", "timeout": None}]).status == "done"
    with override_settings(DJANGO_WORKFLOW={"QUEUE": None, "TIMEOUT": SHORT}):
        assert start([{"type": "tests.plain"}]).error_type == TIMED_OUT
    with override_settings(DJANGO_WORKFLOW={"QUEUE": None, "TIMEOUT": None}):
        assert start([{"type": "tests.plain"}]).status == "done"


def test_an_alarm_that_was_set_before_still_rings(register) -> None:
    rang = Event()

    @register("tests.quick")
    def quick() -> None:
        time.sleep(SHORT)

    earlier = signal.signal(signal.SIGALRM, lambda *arguments: rang.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, LONG)
        assert start([{"type": "tests.quick", "timeout": LONG}]).status == "done"
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < LONG - SHORT
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert start([{"type": "tests.quick", "timeout": LONG}]).status == "done"
        assert rang.wait(LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def test_a_handlers_deadline_does_not_run_on_after_it(register) -> None:
    assert start([{"type": "tests.echo", "timeout": LONG}]).status == "done"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_wait_has_no_limit_from_the_timeout_of_handlers() -> None:
    run = start([{"type": "flow.sleep", "with": {"for": "1h"}, "timeout": SHORT}])
    assert let_time_pass(run).status == "done"


def expire(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(deadline=timezone.now() - timedelta(seconds=1))


def overdue() -> int:
    return end_overdue("default", timezone.now())


def test_a_run_past_its_deadline_fails_and_what_waits_is_cancelled() -> None:
    run = start([{"name": "nap", "type": "flow.sleep", "with": {"for": "2d"}}], timeout="1d")
    assert run.deadline is not None
    assert timedelta(hours=23) < run.deadline - run.created_at <= timedelta(days=1)
    assert overdue() == 0
    expire(run)
    assert overdue() == 1
    run = fresh(run)
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.RunTimeout")
    assert "deadline" in run.error
    assert history(run) == ["nap:cancelled"]
    assert overdue() == 0


def test_a_run_that_is_paused_as_its_deadline_passes_is_ended_at_its_resume(monkeypatch) -> None:
    run = start([{"type": "flow.sleep", "with": {"for": "2d"}}], timeout="1d")
    expire(run)

    def pause_and_lock(using: str, run_id: UUID) -> Run:
        pause_run(run)
        return lock_if_free(using, run_id)

    monkeypatch.setattr(control, "lock_if_free", pause_and_lock)
    assert (overdue(), fresh(run).status) == (0, "paused")
    assert resume_run(run).error_type == "django_workflow.exceptions.RunTimeout"


def test_a_run_without_timeout_has_no_deadline() -> None:
    assert start([{"type": "flow.sleep", "with": {"for": "2d"}}]).deadline is None


def test_a_run_that_passes_its_deadline_in_a_handler_ends_after_it(register) -> None:
    seen = []

    @register("tests.slow")
    def slow(context) -> str:
        expire(Run.objects.get())
        assert overdue() == 1
        seen.append(context.cancelled)
        context.heartbeat()
        seen.append(context.cancelled)
        return "kept"

    run = start([{"name": "slow", "type": "tests.slow"}, {"type": "tests.fail"}], timeout="1d")
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.RunTimeout")
    assert seen == [False, True]
    assert step_run(run, "slow").output == "kept"
    assert history(run) == ["slow:done"]


def test_a_deadline_that_has_passed_starts_no_further_step(register) -> None:
    @register("tests.slow")
    def slow(context) -> None:
        expire(Run.objects.get())

    run = start(
        [
            {"name": "slow", "type": "tests.slow"},
            {"type": "tests.note", "delay": "1h", "on_error": "continue"},
        ],
        timeout="1d",
    )
    run = let_time_pass(run)
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.RunTimeout")
    assert Note.objects.count() == 0
