"""What a handler says while it runs can be read before it ends: its progress, and its log lines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.test import override_settings

from django_workflow import Secret, Sleep, StepContext
from django_workflow.engine import news
from django_workflow.models import Run, StepRun
from tests.support.crashes import crash, let_leases_expire
from tests.support.runs import in_threads, let_time_pass, start, step_run, waiting_run

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = [{"name": "talk", "type": "tests.talk"}]
Said = tuple[Any, Any]


def said(context: StepContext) -> Said:
    """Return what another connection sees of the step run: its progress and log lines."""
    rows = StepRun.objects.filter(pk=context.step_run_id).values_list("progress", "logs")
    found: list[Said] = in_threads(rows.get)
    return found[0]


def test_the_lease_thread_writes_what_a_running_handler_says(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext) -> bool:
        context.progress(1, 4)
        context.log("the first of four")
        for _ in range(1000):
            if said(context) == ({"done": 1, "total": 4}, ["the first of four"]):
                return True
            threading.Event().wait(0.01)
        return False

    assert start(STEPS).output is True


def test_a_heartbeat_writes_it_and_again_after_a_while(
    register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @register("tests.talk")
    def talk(context: StepContext) -> list[Said]:
        seen = []
        for done in range(3):
            monkeypatch.setattr(news, "EVERY", 0.0 if done == 2 else 3600.0)
            context.progress(done, 3)
            context.log(f"{done} of 3")
            context.heartbeat()
            seen.append(said(context))
        context.log("over")
        return seen

    run = start(STEPS)
    lines = ["0 of 3", "1 of 3", "2 of 3"]
    assert run.output == [
        [{"done": 0, "total": 3}, lines[:1]],
        [{"done": 0, "total": 3}, lines[:1]],
        [{"done": 2, "total": 3}, lines],
    ]
    row = step_run(run, "talk")
    assert (row.progress, row.logs) == ({"done": 2, "total": 3}, [*lines, "over"])


def test_the_lines_of_earlier_calls_stay_and_none_is_there_twice(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext) -> Any:
        word = "woken" if context.event else "called"
        context.log(word)
        context.heartbeat()
        context.log("seen", *said(context)[1])
        return "over" if context.event else Sleep(timedelta(hours=1))

    run = let_time_pass(start(STEPS))
    assert step_run(run, "talk").logs == ["called", "seen called", "woken", "seen called seen called woken"]


def test_a_line_is_there_once_though_the_run_has_moved_meanwhile(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext) -> None:
        context.log("called")
        context.heartbeat()
        Run.objects.update(revision=F("revision") + 1)

    assert step_run(start(STEPS), "talk").logs == ["called"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="an atomic handler keeps every other writer away")
def test_an_atomic_handler_is_heard_before_its_commit(register: Callable[..., Any]) -> None:
    @register("tests.talk", atomic=True)
    def talk(context: StepContext) -> bool:
        context.progress(1, 2)
        for _ in range(1000):
            if said(context)[0] == {"done": 1, "total": 2}:
                return True
            threading.Event().wait(0.01)
        return False

    assert start(STEPS).output is True


def test_what_a_handler_said_before_its_worker_died_is_kept(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext) -> None:
        context.log("called")

    run = waiting_run(STEPS)
    crash(run, "talk", logs=["before the crash"])
    assert step_run(let_leases_expire(run), "talk").logs == ["before the crash", "called"]


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "SECRETS": {"bank": "sk_live_123"}})
def test_a_secret_is_starred_while_the_handler_runs(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext, key: Secret) -> Any:
        context.log("asked with", key)
        context.heartbeat()
        return said(context)[1]

    assert start([{**STEPS[0], "with": {"key": "bank"}}]).output == ["asked with ********"]


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "SECRETS": {"pin": "471100"}})
def test_progress_that_is_a_secret_is_not_told(register: Callable[..., Any]) -> None:
    @register("tests.talk")
    def talk(context: StepContext, key: Secret) -> Any:
        context.progress(float(key), 500_000)
        context.log("begun")
        context.heartbeat()
        return said(context)

    assert start([{**STEPS[0], "with": {"key": "pin"}}]).output == [None, ["begun"]]


@pytest.mark.parametrize("given", [{"text": "{{ token }}"}, {"settings": {"api_key": "sk_live_999"}}, {}])
def test_what_is_hidden_is_starred_while_the_handler_runs(
    register: Callable[..., Any], given: dict[str, Any]
) -> None:
    @register("tests.talk")
    def talk(context: StepContext, text: str = "", settings: dict[str, str] | None = None) -> Any:
        context.log("asked with", text or (settings or {}).get("api_key") or context.state["token"])
        context.heartbeat()
        return said(context)[1]

    run = start([{**STEPS[0], "with": given}], {"token": "sk_live_999"})
    assert run.output == ["asked with ********"]


def test_what_another_step_gave_is_starred_while_the_handler_runs(register: Callable[..., Any]) -> None:
    @register("tests.ask")
    def ask() -> dict[str, str]:
        return {"token": "sk_live_999"}

    @register("tests.talk")
    def talk(context: StepContext) -> Any:
        context.log("asked with", context.steps["ask"]["token"])
        context.heartbeat()
        return said(context)[1]

    assert start([{"name": "ask", "type": "tests.ask"}, *STEPS]).output == ["asked with ********"]


def test_what_could_not_be_written_is_written_later(
    register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "progress" in sql and sql.startswith("UPDATE"):
            raise OperationalError("too busy")
        return execute(sql, params, many, context)

    @register("tests.talk")
    def talk(context: StepContext) -> Said:
        context.progress(1, 2)
        with connection.execute_wrapper(fail), pytest.raises(OperationalError):
            context.heartbeat()
        context.heartbeat()
        return said(context)

    assert start(STEPS).output == [{"done": 1, "total": 2}, None]
