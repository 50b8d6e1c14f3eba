"""Events that are committed late or at once with others, or whose step ends before it was told of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_workflow import (
    StepContext,
    WaitForEvent,
    define,
    pause_run,
    resume_run,
    retry_run,
    send_event,
    trigger,
)
from django_workflow.engine.recover import recover_worker
from django_workflow.engine.send import wake, wake_unheard
from django_workflow.models import Event, Run
from django_workflow.models.keys import uuid7
from tests.support.runs import abandon, fresh, history, start, step_run
from tests.support.waiting import forward

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": 7}}


def test_shared_wait_reads_an_event_whose_sender_committed_late(register: Callable[..., Any]) -> None:
    @register("tests.listen")
    def listen(context: StepContext) -> Any:
        if context.event is not None:
            context.state["heard"] = [*context.state.get("heard", []), context.event.payload]
        heard = context.state.get("heard", [])
        return heard if len(heard) == 2 else WaitForEvent("tick", shared=True)

    run = start([{"type": "tests.listen"}])
    made_first = uuid7()
    send_event(run, "tick", "second")
    Event.objects.create(id=made_first, run=run, name="tick", payload="first", at=timezone.now())
    wake("default", run.pk)
    assert fresh(run).output == ["second", "first"]


def test_shared_event_that_is_committed_late_is_read_though_a_younger_one_was(register) -> None:
    seen: list[Any] = []

    @register("tests.listen")
    def listen(context: StepContext) -> Any:
        if context.event is not None:
            seen.append(context.event.payload)
        return WaitForEvent("go", shared=True) if len(seen) < 2 else None

    run = start([{"name": "listen", "type": "tests.listen"}])
    early = Event(run=run, name="go", payload="early", at=timezone.now())
    send_event(run, "go", "late")
    early.save(force_insert=True)
    send_event(run, "other")
    assert (seen, fresh(run).status) == (["late", "early"], "done")


@pytest.mark.parametrize("name", ["child", "timeout", "timer", "approved", "leads_to"])
def test_event_may_have_a_name_that_the_engine_uses_too(name: str) -> None:
    run = start([{**WAIT, "with": {"event": name}, "timeout": "1h"}])
    pause_run(run)
    send_event(run, name, {"amount": 1})
    forward(run, hours=2)
    resume_run(run)
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": name, "payload": {"amount": 1}})


def test_event_of_a_step_that_the_ending_cancelled_is_there_for_its_retry() -> None:
    run = start(
        [{**WAIT, "needs": []}, {**WAIT, "name": "other", "needs": [], "with": {"event": "stop"}}],
        timeout="1h",
    )
    pause_run(run)
    send_event(run, "go", 1)
    assert step_run(run, "wait").status == "pending"
    Run.objects.filter(pk=run.pk).update(deadline=timezone.now() - timedelta(minutes=1))
    resume_run(run)
    assert (fresh(run).status, history(run)) == ("failed", ["wait:cancelled", "other:cancelled"])
    retry_run(run)
    send_event(run, "stop")
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": "go", "payload": 1})


@pytest.mark.parametrize("by_person", [False, True])
def test_event_of_an_attempt_that_failed_is_there_for_the_next(register, by_person: bool) -> None:
    failing = [True]

    @register("tests.charge")
    def charge(context: StepContext) -> Any:
        if context.event is None:
            return WaitForEvent("go")
        if failing:
            failing.clear()
            raise ValueError("the bank is away")
        return context.event.payload

    retry = {} if by_person else {"retry": {"attempts": 2, "delay": 0}}
    run = start([{"name": "charge", "type": "tests.charge", **retry}])
    send_event(run, "go", 5)
    if by_person:
        assert fresh(run).status == "failed"
        retry_run(run)
    run = fresh(run)
    assert (run.status, run.output_of("charge")) == ("done", 5)
    assert Event.objects.get().taken_by == step_run(run, "charge", attempt=2)


def test_event_of_a_step_that_a_jump_resets_before_it_was_told_is_there_for_the_next_visit() -> None:
    steps = [
        {**ECHO, "name": "first"},
        {**WAIT, "needs": ["first"]},
        {"name": "again", "type": "tests.goto", "needs": ["first"], "delay": "1h", "if": "steps.first == 7"},
        {**ECHO, "name": "last", "needs": ["wait"]},
    ]
    steps[2]["with"] = {"to": "wait"}
    run = start(steps)
    pause_run(run)
    send_event(run, "go", 1)
    Run.objects.filter(pk=run.pk).update(status="running")
    forward(run, hours=2)
    assert history(run)[1] == "wait:cancelled"
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": "go", "payload": 1})


def test_event_outlives_a_crash_of_the_handler_that_it_woke() -> None:
    run = start([{**WAIT, "timeout": "1h"}])
    pause_run(run)
    send_event(run, "go", 1)
    Run.objects.filter(pk=run.pk).update(status="running")
    abandon(run, "wait", worker="dead")
    assert recover_worker("default", "dead") == 1
    forward(run, hours=2)
    assert fresh(run).output_of("wait") == {"event": "go", "payload": 1}


def test_event_that_is_committed_while_others_are_given_out_is_heard_by_the_clock() -> None:
    run = start([WAIT, {**WAIT, "name": "other", "needs": []}])
    done: list[bool] = []

    def send_another(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not done and sql.startswith("UPDATE") and '"is_new"' in sql:
            done.append(True)
            Event.objects.create(run=run, name="go", payload=2, at=timezone.now() - timedelta(minutes=1))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(send_another):
        send_event(run, "go", 1)
    assert done
    assert fresh(run).status == "waiting"
    wake_unheard("default")
    assert fresh(run).status == "done"


def test_event_by_key_whose_twin_comes_at_the_same_moment_fails_no_step() -> None:
    define("flow", steps=[{**ECHO, "delay": "1h"}, WAIT])
    send_event(("flow", "k"), "go", 1, id="e1")
    run = trigger("flow", key="k")
    done: list[bool] = []

    def twin(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not done and sql.startswith("UPDATE") and "event" in sql.split("SET", maxsplit=1)[0].lower():
            done.append(True)
            Event.objects.create(run=run, name="go", payload=2, event_id="e1", at=timezone.now())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(twin):
        forward(run, hours=2)
    send_event(run, "nothing")
    run = fresh(run)
    assert done
    assert (run.status, history(run)) == ("done", ["echo:done", "wait:done"])
