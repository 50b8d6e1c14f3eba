"""The test kit: what is executed when, the clock it holds, and what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from django_workflow import StepContext, WorkflowNotFound, define, trigger
from django_workflow.conf import get_settings
from django_workflow.engine.now import database_now
from django_workflow.models import Run, StepRun
from django_workflow.test import Kit, workflow_test

# The same in a transaction that never commits, as in TestCase, and without one, as in TransactionTestCase.
BOTH = [
    pytest.param("rolled back", marks=pytest.mark.django_db),
    pytest.param("flushed", marks=pytest.mark.django_db(transaction=True)),
]
in_both = pytest.mark.parametrize("kind", BOTH)

SLEEPS = [
    {"name": "hello", "type": "flow.set", "with": {"greeted": True}},
    {"name": "wait", "type": "flow.sleep", "with": {"for": "2d"}},
    {"name": "tips", "type": "flow.set", "with": {"told": True}},
]


@pytest.fixture
def kit() -> Iterator[Kit]:
    with workflow_test() as test:
        yield test


@in_both
def test_a_run_is_executed_before_trigger_returns(kind: str) -> None:
    define("greet", steps=[{"type": "flow.set", "with": {"greeted": "{{ name }}"}}])
    with workflow_test() as test:
        run = test.trigger("greet", {"name": "Ann"}, key="1")
    assert (run.status, run.key, run.state["greeted"], run.was_created) == ("done", "1", "Ann", True)


@in_both
def test_time_stands_still_until_it_is_moved(kind: str) -> None:
    define("drip", steps=SLEEPS)
    with workflow_test() as test:
        run, began = test.trigger("drip"), test.now
        assert (run.status, test.path(run)) == ("waiting", ["hello"])
        test.advance(days=1, hours=23)
        assert run.status == "waiting"
        test.advance(hours=1)
        assert (run.status, test.path(run)) == ("done", ["hello", "wait", "tips"])
        assert test.now - began == timedelta(days=2)


@in_both
def test_what_the_code_under_test_starts_is_executed_by_the_next_call(kind: str) -> None:
    define("greet", steps=[{"type": "flow.set"}])
    with workflow_test() as test:
        with transaction.atomic():
            run = trigger("greet")
        test.execute_due()
    run.refresh_from_db()
    assert run.status == "done"


@in_both
def test_what_the_code_under_test_starts_is_executed_at_the_end_of_the_block(kind: str) -> None:
    define("greet", steps=[{"type": "flow.set"}])
    with workflow_test():
        run = trigger("greet")
    run.refresh_from_db()
    assert run.status == "done"


@in_both
def test_callbacks_of_the_project_are_called_once_and_what_they_register_too(kind: str) -> None:
    called: list[str] = []

    def first() -> None:
        called.append("first")
        transaction.on_commit(lambda: called.append("second"))

    with workflow_test() as test:
        transaction.on_commit(first)
        test.execute_due()
        test.execute_due()
    assert called == ["first", "second"]


@pytest.mark.django_db
def test_a_callback_from_before_the_block_still_waits_for_its_commit() -> None:
    called: list[str] = []
    transaction.on_commit(lambda: called.append("before"))
    with workflow_test():
        pass
    assert (called, len(connection.run_on_commit)) == ([], 1)


@pytest.mark.django_db
def test_the_error_of_a_callback_is_the_tests_own(kit: Kit) -> None:
    def fail() -> None:
        raise LookupError("no such customer")

    transaction.on_commit(fail)
    with pytest.raises(LookupError, match="no such customer"):
        kit.execute_due()


@pytest.mark.django_db
def test_a_robust_callback_may_raise(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    transaction.on_commit(lambda: {}["missing"], robust=True)
    kit.execute_due()
    assert "KeyError" in caplog.text


@pytest.mark.django_db
def test_advance_goes_to_the_next_timer(kit: Kit) -> None:
    define("drip", steps=SLEEPS)
    run, began = kit.trigger("drip"), kit.now
    kit.advance()
    assert (kit.now - began, run.status) == (timedelta(days=2), "done")


@pytest.mark.django_db
def test_advance_without_a_timer_says_what_is_live(kit: Kit) -> None:
    with pytest.raises(RuntimeError, match="nothing waits for a time: every run is over"):
        kit.advance()


@pytest.mark.django_db
def test_each_timer_comes_at_its_own_moment(kit: Kit, register: Callable[..., Any]) -> None:
    moments: list[tuple[str, timedelta]] = []
    began = kit.now

    @register("tests.note_of_kit")
    def note(context: StepContext) -> None:
        moments.append((context.step, kit.now - began))

    for days in (3, 1):
        define(
            f"in-{days}", steps=[{"name": f"after_{days}", "type": "tests.note_of_kit", "delay": f"{days}d"}]
        )
        kit.trigger(f"in-{days}")
    kit.advance(days=7)
    assert moments == [("after_1", timedelta(days=1)), ("after_3", timedelta(days=3))]
    assert kit.now - began == timedelta(days=7)


@pytest.mark.django_db
def test_a_retry_comes_after_its_delay(kit: Kit, register: Callable[..., Any]) -> None:
    @register("tests.flaky")
    def flaky(context: StepContext) -> int:
        if context.attempt < 3:
            raise OSError("no answer")
        return context.attempt

    define("flaky", steps=[{"type": "tests.flaky", "retry": {"attempts": 3, "delay": "1h"}}])
    run = kit.trigger("flaky")
    kit.advance(days=1)
    assert (run.status, run.output) == ("done", 3)


@pytest.mark.django_db
def test_the_deadline_of_a_run_is_a_timer(kit: Kit) -> None:
    define("drip", steps=SLEEPS, timeout="1d")
    run = kit.trigger("drip")
    kit.advance()
    assert (run.status, run.error_type.rpartition(".")[2]) == ("failed", "RunTimeout")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "units", "error"),
    [
        ((timedelta(days=-1),), {}, ValueError),
        ((), {"days": -1}, ValueError),
        ((timedelta(days=1),), {"days": 1}, TypeError),
    ],
)
def test_a_wrong_duration_is_refused(
    kit: Kit, arguments: tuple[timedelta, ...], units: dict[str, float], error: type[Exception]
) -> None:
    before = kit.now
    with pytest.raises(error):
        kit.advance(*arguments, **units)
    assert kit.now == before


@pytest.mark.django_db
def test_a_path_shows_each_visit_and_the_items_once(kit: Kit, register: Callable[..., Any]) -> None:
    @register("tests.twice")
    def twice(context: StepContext) -> Any:
        return None

    steps = [
        {"name": "each", "type": "tests.twice", "for_each": "values"},
        {"name": "again", "type": "flow.branch", "with": {"if": "not seen", "then": "mark"}},
        {"name": "stop", "type": "flow.end"},
        {"name": "mark", "type": "flow.set", "needs": "jump", "with": {"seen": True}, "next": "again"},
    ]
    define("loop", steps=steps)
    run = kit.trigger("loop", {"values": [1, 2], "seen": False})
    assert kit.path(run) == ["each", "again", "mark", "again", "stop"]
    assert kit.path(str(run.pk)) == kit.path(run)


@pytest.mark.django_db
def test_a_run_is_found_by_its_key(kit: Kit) -> None:
    define("greet", steps=[{"name": "greet", "type": "flow.set"}])
    kit.trigger("greet", key="1")
    assert kit.path(("greet", "1")) == ["greet"]
    with pytest.raises(Run.DoesNotExist):
        kit.path(("greet", "2"))


@pytest.mark.django_db
def test_two_kits_at_once_are_refused(kit: Kit) -> None:
    with pytest.raises(RuntimeError, match="one kit at a time"), workflow_test():
        pass
    assert kit.now == database_now("default")


@in_both
def test_inside_a_transaction_the_kit_says_that_nothing_has_committed(kind: str) -> None:
    define("greet", steps=[{"type": "flow.set"}])
    with workflow_test() as test:
        with transaction.atomic(), pytest.raises(RuntimeError, match=r"outside of transaction\.atomic"):
            test.trigger("greet")
        assert not Run.objects.exists()


@pytest.mark.django_db
def test_everything_is_as_before_also_after_an_error() -> None:
    def fail_in_the_block() -> None:
        with workflow_test(outputs={"tips": 1}) as test:
            test.trigger("drip")
            test.advance(days=1)
            raise ZeroDivisionError

    define("drip", steps=SLEEPS)
    with pytest.raises(ZeroDivisionError):
        fail_in_the_block()
    assert abs(database_now("default") - timezone.now()) < timedelta(minutes=1)
    with workflow_test() as test:
        test.trigger("drip")
        test.advance(days=2)
    assert StepRun.objects.filter(step="tips").latest("id").output is None


@in_both
@pytest.mark.parametrize("queue", ["default", "slow"])
def test_no_queue_is_needed_whatever_the_settings_say(kind: str, queue: str) -> None:
    with override_settings(DJANGO_WORKFLOW={"QUEUE": queue}):
        define("greet", steps=[{"type": "flow.set"}], queue=queue)
        with workflow_test() as test:
            assert test.trigger("greet").status == "done"
        assert queue == get_settings().QUEUE
    assert settings.DJANGO_WORKFLOW == {"QUEUE": None}


@pytest.mark.django_db
def test_no_thread_is_started(kit: Kit, register: Callable[..., Any]) -> None:
    before, seen = set(threading.enumerate()), set[threading.Thread]()

    @register("tests.threads")
    def look() -> None:
        seen.update(threading.enumerate())

    define("look", steps=[{"type": "tests.threads"}])
    kit.trigger("look")
    assert seen == before


@pytest.mark.django_db
def test_an_unknown_workflow_is_an_error(kit: Kit) -> None:
    with pytest.raises(WorkflowNotFound):
        kit.trigger("nobody")


@pytest.mark.django_db(databases=["default", "other"])
def test_runs_may_live_on_another_database() -> None:
    define("drip", steps=SLEEPS, using="other")
    with workflow_test(using="other") as test:
        run = test.trigger("drip")
        test.advance()
    assert (run.status, run._state.db) == ("done", "other")
