"""How handlers are called: async ones, their params and context, and types that nobody knows (any more)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db.models import ProtectedError
from django.utils import timezone

from django_workflow import End, Goto, PermanentError, trigger
from tests.support.runs import fresh, history, let_time_pass, start, step_run, step_runs, waiting_run
from tests.support.steps_for_tests import note
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_async_handler_is_awaited_and_its_outcome_counts(register) -> None:
    @register("tests.work")
    async def work(context, value: int) -> Any:
        await asyncio.sleep(0)
        context.state["seen"] = value
        context.log("called")
        await Note.objects.acreate(text="async")
        return Goto("last", output=value + 1)

    run = start(
        [
            {"name": "one", "type": "tests.work", "with": {"value": 1}},
            {"name": "passed", "type": "tests.fail"},
            {"name": "last", "type": "tests.echo", "with": {"value": "{{ steps.one }}"}},
        ]
    )
    assert (run.status, run.output, run.state) == ("done", 2, {"seen": 1})
    assert (step_run(run, "one").logs, Note.objects.count()) == (["called"], 1)


def test_an_error_of_an_async_handler_is_a_failed_attempt(register) -> None:
    @register("tests.work")
    async def work(context) -> None:
        await asyncio.sleep(0)
        if context.attempt < 3:
            raise ConnectionError("away")

    run = start([{"type": "tests.work", "retry": {"attempts": 3, "delay": 0}}])
    assert (run.status, step_runs(run).count()) == ("done", 3)


def test_a_permanent_error_of_an_async_handler_is_not_retried(register) -> None:
    @register("tests.work")
    async def work() -> None:
        raise PermanentError("no")

    assert step_runs(start([{"type": "tests.work", "retry": {"attempts": 3, "delay": 0}}])).count() == 1


def test_trigger_works_from_async_code_by_a_thread() -> None:
    start([{"type": "tests.note"}])

    async def view() -> str:
        run = await sync_to_async(trigger)("flow")
        return run.status

    assert async_to_sync(view)() == "done"


def test_an_async_handler_may_be_triggered_from_async_code(register) -> None:
    @register("tests.work")
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    start([{"type": "tests.work"}])

    async def view() -> Any:
        return await sync_to_async(trigger)("flow")

    assert async_to_sync(view)().output == "done"


def test_the_context_says_where_it_is(register) -> None:
    seen = []

    @register("tests.see")
    def see(context) -> None:
        seen.append(
            (
                context.run_id,
                context.workflow,
                context.step,
                context.visit,
                context.attempt,
                context.item,
                context.index,
                context.event,
                context.cancelled,
            )
        )
        seen.append(dict(context.steps))

    run = start(
        [
            {"name": "one", "type": "tests.echo", "with": {"value": 1}},
            {"name": "off", "type": "tests.echo", "if": "False"},
            {"name": "see", "type": "tests.see"},
        ]
    )
    assert seen[0] == (run.pk, "flow", "see", 1, 1, None, None, None, False)
    assert {name: seen[1][name] for name in ("one", "off")} == {"one": 1, "off": None}


def test_the_idempotency_key_is_that_of_step_and_visit_and_the_same_for_every_attempt(register) -> None:
    keys = []

    @register("tests.see")
    def see(context) -> Any:
        keys.append(context.idempotency_key)
        if context.attempt == 1:
            raise ValueError
        return Goto("see") if context.visit == 1 else End()

    run = start([{"name": "see", "type": "tests.see", "retry": {"attempts": 2, "delay": 0}}])
    assert (run.status, len(keys), len(set(keys))) == ("done", 4, 2)
    assert keys[0] == keys[1]


def test_params_are_converted_and_kept_as_they_were_rendered(register) -> None:
    seen = []

    @register("tests.take")
    def take(wait: timedelta, count: int = 3) -> None:
        seen.append((wait, count))

    run = start(
        [{"name": "take", "type": "tests.take", "with": {"wait": "{{ how_long }}"}}], {"how_long": "2h"}
    )
    assert seen == [(timedelta(hours=2), 3)]
    assert step_run(run, "take").params == {"wait": "2h"}


def test_params_that_do_not_fit_fail_all_at_once_and_for_good(register) -> None:
    @register("tests.take")
    def take(wait: timedelta, count: int) -> None:
        raise AssertionError

    run = start(
        [
            {
                "name": "take",
                "type": "tests.take",
                "with": {"wait": "{{ a }}", "count": "{{ b }}"},
                "retry": {"attempts": 3, "delay": 0},
            }
        ],
        {"a": "soon", "b": "many"},
    )
    assert (run.status, step_runs(run).count()) == ("failed", 1)
    assert run.error_type == "django_workflow.exceptions.ParamsError"
    for part in ("step 'take'", "tests.take", "wait", "count"):
        assert part in run.error
    assert step_run(run, "take").params == {"wait": "soon", "count": "many"}


def test_a_type_nobody_knows_any_more_waits_for_its_handler(register, unregister) -> None:
    run = waiting_run(
        [{"name": "one", "type": "tests.note"}, {"type": "tests.echo", "with": {"value": "on"}}]
    )
    unregister("tests.note")
    run = let_time_pass(run)
    row = step_run(run, "one")
    assert (run.status, row.status, row.waiting_for, row.attempt) == ("waiting", "waiting", "handler", 1)
    assert row.started_at is None
    assert timedelta(seconds=50) < row.due_at - timezone.now() <= timedelta(seconds=60)
    for _ in range(5):
        run = let_time_pass(run)
    assert (step_run(run, "one").crashes, run.status) == (0, "waiting")
    register("tests.note")(note)
    run = let_time_pass(run)
    assert (run.status, run.output, Note.objects.count()) == ("done", "on", 1)


def test_a_renamed_type_is_found_by_its_alias(register, unregister) -> None:
    @register("tests.old")
    def old() -> str:
        return "old"

    run = waiting_run([{"name": "one", "type": "tests.old"}])
    unregister("tests.old")

    @register("tests.renamed", aliases=("tests.old",))
    def renamed() -> str:
        return "renamed"

    assert let_time_pass(run).output == "renamed"


def test_a_handler_whose_params_changed_fails_clearly(register, unregister) -> None:
    @register("tests.work")
    def before(value: int) -> None: ...

    run = waiting_run([{"name": "one", "type": "tests.work", "with": {"value": 1}}])
    unregister("tests.work")

    @register("tests.work")
    def after(amount: int) -> None: ...

    run = let_time_pass(run)
    assert run.status == "failed"
    assert "value" in run.error
    assert "amount" in run.error


def test_a_deleted_version_is_impossible_while_it_has_runs() -> None:
    run = waiting_run([{"type": "tests.note"}])
    with pytest.raises(ProtectedError):
        run.version.delete()
    assert fresh(run).version is not None
    assert history(run) == ["first:waiting"]


def test_the_context_shows_a_handler_what_is_documented_and_nothing_else(register) -> None:
    @register("tests.look")
    def look(context) -> list[str]:
        return [name for name in dir(context) if not name.startswith("_")]

    fields = (
        "attempt event idempotency_key index item run_id state step step_run_id steps using visit workflow"
    )
    verbs = "cancelled heartbeat log progress"
    assert start([{"name": "one", "type": "tests.look"}]).output == sorted(f"{fields} {verbs}".split())
