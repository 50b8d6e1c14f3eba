"""The test kit where the database rolls back: a ``TestCase`` goes on, as it would in autocommit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, transaction
from django.test import TestCase

from django_workflow import define, signals, trigger
from django_workflow.engine.stand_ins import standing_in
from django_workflow.models import Run
from django_workflow.test import Kit, workflow_test
from tests.testapp.models import Note

# The same in a transaction that never commits, as in TestCase, and without one, as in TransactionTestCase.
in_both = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("rolled back", marks=pytest.mark.django_db),
        pytest.param("flushed", marks=pytest.mark.django_db(transaction=True)),
    ],
)

CHILD = [{"name": "wait", "type": "flow.wait", "with": {"event": "go"}, "timeout": "30m"}]
EACH = [{"name": "each", "type": "flow.call", "for_each": "names", "with": {"workflow": "child"}}]


@pytest.fixture
def kit() -> Iterator[Kit]:
    with workflow_test() as test:
        yield test


def write_twice(key: str = "taken") -> None:
    """Write a row that is there already."""
    Note.objects.create(text="again", key=key)


def read_nothing() -> None:
    """Read from a table that is not there: nothing but the database itself knows of the error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


BREAKS = pytest.mark.parametrize("break_", [write_twice, read_nothing])


@in_both
def test_called_runs_may_fail_together(kind: str) -> None:
    define("child", steps=CHILD)
    define("parent", steps=EACH)
    with workflow_test() as test:
        run = test.trigger("parent", {"names": ["a", "b", "c"]})
        test.advance(hours=1)
        assert run.status == "failed"
        assert set(Run.objects.values_list("status", flat=True)) == {"failed"}


@in_both
@BREAKS
@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"idempotent": True}])
def test_the_error_of_the_database_is_the_steps(
    kind: str, break_: Callable[[], None], options: dict[str, bool], register: Callable[..., Any]
) -> None:
    Note.objects.create(text="first", key="taken")
    register("tests.break_kit", **options)(break_)
    define(
        "flow", steps=[{"name": "a", "type": "tests.break_kit", "on_error": "continue"}, {"type": "flow.set"}]
    )
    with workflow_test() as test:
        runs = [test.trigger("flow"), *trigger_together(test, 3)]
        assert [run.status for run in runs] == ["done"] * 4
        assert test.path(runs[0]) == ["flow_set"]
    assert list(Note.objects.values_list("text", flat=True)) == ["first"]


def trigger_together(test: Kit, count: int) -> list[Run]:
    """Start runs whose steps are claimed together."""
    with transaction.atomic():
        runs = [trigger("flow") for _ in range(count)]
    test.execute_due()
    for run in runs:
        run.refresh_from_db()
    return runs


@in_both
@BREAKS
def test_async_handlers_spoil_nothing_that_was_recorded(
    kind: str, break_: Callable[[], None], register: Callable[..., Any]
) -> None:
    Note.objects.create(text="first", key="taken")

    @register("tests.break_async")
    async def break_async(number: int) -> int:
        await asyncio.sleep(0)
        if number % 2:
            await sync_to_async(break_)()
        return number

    define(
        "flow",
        steps=[
            {
                "name": "each",
                "type": "tests.break_async",
                "for_each": "numbers",
                "with": {"number": "{{ item }}"},
                "on_error": "continue",
            }
        ],
    )
    with workflow_test() as test:
        run = test.trigger("flow", {"numbers": list(range(9))})
    assert (run.status, run.output) == ("done", [0, None, 2, None, 4, None, 6, None, 8])


@in_both
def test_what_a_handler_wrote_before_an_error_of_its_own_stays(
    kind: str, register: Callable[..., Any]
) -> None:
    @register("tests.write_and_fail")
    def write_and_fail() -> None:
        Note.objects.create(text="written")
        raise ValueError("after that")

    define("flow", steps=[{"type": "tests.write_and_fail"}])
    with workflow_test() as test:
        assert test.trigger("flow").status == "failed"
    assert Note.objects.get().text == "written"


@in_both
def test_a_handler_may_leave_a_transaction_open_that_an_error_has_stopped(
    kind: str, register: Callable[..., Any]
) -> None:
    @register("tests.leave_open")
    def leave_open() -> None:
        block = transaction.atomic()
        block.__enter__()
        with pytest.raises(DatabaseError):
            read_nothing()

    define("flow", steps=[{"type": "tests.leave_open"}])
    with workflow_test() as test:
        run = test.trigger("flow")
    assert (run.status, run.error_type.rpartition(".")[2]) == ("failed", "OutcomeError")


@in_both
@BREAKS
def test_a_receiver_spoils_neither_the_run_nor_what_called_it(
    kind: str, break_: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    Note.objects.create(text="first", key="taken")

    def hear(**kwargs: object) -> None:
        break_()

    define("child", steps=[{"type": "flow.set"}])
    define("parent", steps=EACH)
    for signal in (signals.run_started, signals.step_finished, signals.run_finished):
        signal.connect(hear)
    try:
        with workflow_test() as test:
            run = test.trigger("parent", {"names": ["a", "b"]})
    finally:
        for signal in (signals.run_started, signals.step_finished, signals.run_finished):
            signal.disconnect(hear)
    assert run.status == "done"
    assert "Error" in caplog.text


@pytest.mark.django_db
@BREAKS
def test_a_robust_callback_may_meet_an_error_of_the_database(kit: Kit, break_: Callable[[], None]) -> None:
    define("flow", steps=[{"type": "flow.set"}])
    Note.objects.create(text="first", key="taken")
    transaction.on_commit(break_, robust=True)
    assert kit.trigger("flow").status == "done"


class TestWithCapturedCallbacks(TestCase):
    def test_a_step_that_fails_leaves_the_transaction_to_the_test(self) -> None:
        Note.objects.create(text="first", key="taken")
        with (
            standing_in({"breaks": lambda context: write_twice()}),
            self.captureOnCommitCallbacks(execute=True),
        ):
            define("flow", steps=[{"name": "breaks", "type": "flow.set"}])
            run = trigger("flow")
        run.refresh_from_db()
        assert run.status == "failed"
