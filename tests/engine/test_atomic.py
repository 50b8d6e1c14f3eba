"""``atomic`` handlers: their rows and their checkpoint stand or fall together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from django_workflow import Sleep, cancel_run, define, trigger
from django_workflow.models import Run
from tests.support.runs import fresh, history, let_time_pass, start, step_run
from tests.testapp.models import Note, Order

pytestmark = pytest.mark.django_db(transaction=True)
ONE_STEP = [{"name": "work", "type": "tests.work"}]


def test_rows_and_checkpoint_are_kept_together() -> None:
    run = start([{"type": "tests.note_atomically"}, {"type": "tests.note_atomically"}])
    assert (run.status, Note.objects.count()) == ("done", 2)


def test_a_handler_that_raises_leaves_no_row_but_its_error_and_its_lines(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        context.log("about to write")
        context.state["a"] = 1
        Note.objects.create(text="lost")
        raise ValueError("too late")

    run = start(ONE_STEP)
    row = step_run(run, "work")
    assert (run.status, run.error, run.state, Note.objects.count()) == ("failed", "too late", {}, 0)
    assert (row.status, row.logs) == ("failed", ["about to write"])
    assert "raise ValueError" in row.traceback


def test_a_commit_that_fails_leaves_neither_rows_nor_checkpoint(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> str:
        context.state["a"] = 1
        Note.objects.create(text="lost")
        Order.objects.create(number="1", customer_id=4711)  # a deferred constraint: refused at the commit
        return "output"

    run = start([*ONE_STEP, {"type": "tests.note"}])
    row = step_run(run, "work")
    assert (run.status, run.state, run.error_type) == ("failed", {}, "django.db.utils.IntegrityError")
    assert (row.status, row.output, row.state_changes) == ("failed", None, None)
    assert Note.objects.count() == Order.objects.count() == 0
    assert history(run) == ["work:failed"]


def test_a_commit_that_fails_is_an_attempt_and_the_next_may_succeed(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        Note.objects.create(text=f"attempt {context.attempt}")
        if context.attempt == 1:
            Order.objects.create(number="1", customer_id=4711)

    run = start([{**ONE_STEP[0], "retry": {"attempts": 2, "delay": 0}}])
    assert run.status == "done"
    assert history(run) == ["work:failed", "work:done"]
    assert [note.text for note in Note.objects.all()] == ["attempt 2"]


def test_a_constraint_broken_and_swallowed_in_a_savepoint_is_the_handlers_own_affair(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> str:
        Note.objects.create(text="a", key="same")
        try:
            with transaction.atomic():
                Note.objects.create(text="b", key="same")
        except Exception:
            return "met"

    run = start(ONE_STEP)
    assert (run.status, run.output, Note.objects.count()) == ("done", "met", 1)


def test_a_handler_that_breaks_the_transaction_and_hides_it_fails(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> str:
        Note.objects.create(text="a", key="same")
        try:
            with transaction.atomic(savepoint=False):
                Note.objects.create(text="b", key="same")
        except Exception:
            return "hidden"

    run = start(ONE_STEP)
    assert (run.status, Note.objects.count()) == ("failed", 0)


def test_a_trigger_in_an_atomic_handler_is_part_of_the_commit(register) -> None:
    seen = []

    @register("tests.work", atomic=True)
    def work(context) -> None:
        seen.append(trigger("child").status)

    define("child", steps=[{"type": "tests.note"}])
    start(ONE_STEP)
    assert seen == ["pending"]
    assert Run.objects.get(workflow__name="child").status == "done"


def test_a_trigger_in_an_atomic_handler_that_fails_makes_no_run(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        trigger("child", key="k")
        raise ValueError

    define("child", steps=[{"type": "tests.note"}])
    assert start(ONE_STEP).status == "failed"
    assert not Run.objects.filter(workflow__name="child").exists()
    assert Note.objects.count() == 0


def _durable(context) -> None:
    with transaction.atomic(durable=True):
        Note.objects.create(text="inner")


def _close(context) -> None:
    connection.close()


def _close_after_writing(context) -> None:
    Note.objects.create(text="lost")
    connection.close()


def _set_autocommit(context) -> None:
    transaction.set_autocommit(True)


def _commit(context) -> None:
    Note.objects.create(text="lost")
    transaction.commit()


@pytest.mark.parametrize("act", [_durable, _close, _close_after_writing, _set_autocommit, _commit])
def test_what_would_break_the_promise_is_an_error(register, act) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        act(context)

    run = start(ONE_STEP)
    assert run.status == "failed"
    assert step_run(run, "work").error
    assert Note.objects.count() == 0
    assert start([{"type": "tests.note"}]).status == "done"


def test_callbacks_run_once_after_the_commit(register) -> None:
    seen = []

    @register("tests.work", atomic=True)
    def work(context) -> None:
        transaction.on_commit(lambda: seen.append(Note.objects.count()))
        Note.objects.create(text="a")

    start(ONE_STEP)
    assert seen == [1]


@pytest.mark.parametrize("kind", [ValueError, IntegrityError])
def test_a_callback_that_raises_is_not_the_steps_and_the_run_goes_on(register, kind) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        def call() -> None:
            raise kind("in the callback")

        transaction.on_commit(call)
        Note.objects.create(text="kept")

    run = start([*ONE_STEP, {"name": "after", "type": "tests.echo"}])
    assert (fresh(run).status, history(run)) == ("done", ["work:done", "after:done"])
    assert Note.objects.count() == 1


def test_a_callback_that_raises_after_a_savepoint_rolled_back_is_not_the_steps_either(register) -> None:
    seen = []

    @register("tests.work", atomic=True)
    def work(context) -> None:
        def call() -> None:
            raise ValueError("in the callback")

        with transaction.atomic():
            transaction.on_commit(lambda: seen.append("dropped"))
            transaction.set_rollback(True)
        transaction.on_commit(call)
        transaction.on_commit(lambda: seen.append("kept"))

    run = start([*ONE_STEP, {"name": "after", "type": "tests.echo"}])
    assert (fresh(run).status, history(run), seen) == ("done", ["work:done", "after:done"], ["kept"])


def test_a_callback_of_a_failing_handler_is_dropped(register) -> None:
    seen = []

    @register("tests.work", atomic=True)
    def work(context) -> None:
        transaction.on_commit(lambda: seen.append(1))
        raise ValueError

    start(ONE_STEP)
    assert seen == []


@pytest.mark.parametrize("after", [[], [{"name": "after", "type": "tests.note"}]], ids=["last", "not last"])
def test_cancelling_its_own_run_is_part_of_the_commit(register, after) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        Note.objects.create(text="kept")
        cancel_run(context.run_id)

    run = start([*ONE_STEP, *after])
    assert (run.status, history(run)) == ("cancelled", ["work:done"])
    assert [note.text for note in Note.objects.all()] == ["kept"]


def test_cancelling_its_own_run_and_failing_cancels_nothing(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        cancel_run(context.run_id)
        raise ValueError

    run = start([{**ONE_STEP[0], "on_error": "continue"}, {"name": "after", "type": "tests.note"}])
    assert (run.status, history(run)) == ("done", ["work:failed", "after:done"])
    assert run.actions.count() == 0


def test_cancelling_its_own_run_in_a_commit_that_fails_cancels_nothing(register) -> None:
    @register("tests.work", atomic=True)
    def work(context) -> None:
        cancel_run(context.run_id)
        Order.objects.create(number="1", customer_id=4711)

    run = start([{**ONE_STEP[0], "on_error": "continue"}, {"name": "after", "type": "tests.note"}])
    assert (run.status, history(run)) == ("done", ["work:failed", "after:done"])
    assert run.actions.count() == 0


def test_an_atomic_handler_that_sleeps_keeps_its_rows(register) -> None:

    @register("tests.work", atomic=True)
    def work(context) -> Sleep | None:
        Note.objects.create(text="called")
        return Sleep(timedelta(hours=1)) if context.event is None else None

    run = start(ONE_STEP)
    assert (run.status, Note.objects.count()) == ("waiting", 1)
    assert (let_time_pass(run).status, Note.objects.count()) == ("done", 2)


def test_atomic_items_are_recorded_one_by_one(register) -> None:
    @register("tests.work", atomic=True)
    def work(context, value: int) -> int:
        Note.objects.create(text=str(value))
        if value == 2:
            raise ValueError
        return value

    run = start(
        [{**ONE_STEP[0], "for_each": "values", "with": {"value": "{{ item }}"}, "on_error": "continue"}],
        {"values": [1, 2, 3]},
    )
    assert run.output == [1, None, 3]
    assert sorted(note.text for note in Note.objects.all()) == ["1", "3"]
