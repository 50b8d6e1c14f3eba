"""What a review of the flow found: each of these tests names a promise that is not kept yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from django_workflow import (
    StepContext,
    VerbRefused,
    WaitForEvent,
    approve,
    define,
    pause_run,
    process,
    restart_run,
    resume_run,
    retry_run,
    send_event,
    skip_step,
    trigger,
    undo_run,
)
from django_workflow.engine import callers
from django_workflow.engine.retry import retry
from django_workflow.engine.send import wake
from django_workflow.links import ApprovalLink, link_url
from django_workflow.models import Event, Run
from django_workflow.models.keys import uuid7
from tests.support.runs import fresh, notes, start, step_run, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "tests.fail", "with": {"message": "too late"}}
ALARM = [{"type": "tests.echo", "with": {"value": "{{ run.id }} {{ error.message }}"}}]


@pytest.fixture(autouse=True)
def take_back(register: Callable[..., Any]) -> set[str]:
    """Register the step type ``tests.take_back``, which fails at the texts in the set."""
    failing: set[str] = set()

    @register("tests.take_back")
    def take_back(text: str) -> None:
        if text in failing:
            raise ValueError(f"cannot take back {text}")
        Note.objects.create(text=text)

    return failing


@pytest.fixture
def boss() -> User:
    """Return a user who is asked."""
    return User.objects.create_user("boss")


def done(name: str, undo: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a step that is done; its undo notes its name, unless it is another."""
    own = {"type": "tests.take_back", "with": {"text": name}}
    return {"name": name, "type": "tests.echo", "undo": undo or own}


def alarms() -> int:
    """Return how many runs of the workflow ``alarm`` were started."""
    return Run.objects.filter(workflow__name="alarm").count()


# Undo: DESIGN.md 3 lets any type undo; ENGINE.md rule 32.


def test_undo_that_is_a_call_starts_the_called_workflow() -> None:
    define("child", steps=[{"type": "tests.echo"}])
    undo = {"type": "flow.call", "with": {"workflow": "child"}}
    run = start([done("a", undo), FAIL], on_failure="undo")
    assert Run.objects.filter(workflow__name="child").count() == 1
    assert step_run(run, "a:undo").child.status == "done"


def test_undo_that_waits_for_an_event_is_woken_by_it() -> None:
    run = start([done("a", {"type": "flow.wait", "with": {"event": "refunded"}}), FAIL], on_failure="undo")
    assert send_event(run, "refunded")
    assert fresh(run).status == "failed"


def test_event_that_comes_before_the_undo_waits_for_it_is_not_lost() -> None:
    wait = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
    undo = {"type": "flow.wait", "with": {"event": "refunded"}}
    run = start([done("a", undo), wait, FAIL], on_failure="undo")
    send_event(run, "refunded")
    send_event(run, "go")
    assert fresh(run).status == "failed"


def test_run_that_was_restarted_from_its_start_can_still_be_undone() -> None:
    run = start([done("a"), FAIL])
    restart_run(run)
    undo_run(run)
    assert notes() == ["a"]


def test_failed_undo_can_be_finished_after_a_restart_from_the_start(take_back: set[str]) -> None:
    take_back.add("a")
    run = start([done("a"), FAIL], on_failure="undo")
    restart_run(run)
    take_back.clear()
    undo_run(run)
    assert notes() == ["a"]


def test_run_whose_steps_were_copied_to_a_restart_cannot_go_on() -> None:
    run = start([done("a"), FAIL])
    restart_run(run, from_step="broken")
    with pytest.raises(VerbRefused, match="restarted"):
        retry_run(run)


# on_failure: {workflow: …}


def test_undo_of_a_failed_run_is_no_second_failure() -> None:
    define("alarm", steps=ALARM)
    run = start([done("a"), FAIL], on_failure={"workflow": "alarm"})
    undo_run(run)
    assert fresh(run).status == "failed"
    assert alarms() == 1


def test_skip_of_a_failed_undo_is_no_second_failure(take_back: set[str]) -> None:
    take_back.add("a")
    define("alarm", steps=ALARM)
    run = start([done("a"), FAIL], on_failure={"workflow": "alarm"})
    undo_run(run)
    before = alarms()
    skip_step(run, "a:undo")
    assert alarms() == before


def test_failure_starts_a_workflow_that_declares_other_input_than_the_step() -> None:
    define("alarm", steps=ALARM, input={"level": {"type": "str", "default": "high"}})
    start([FAIL], on_failure={"workflow": "alarm"})
    assert alarms() == 1


def test_run_that_a_failure_started_can_be_restarted_on_the_newest_version() -> None:
    define("alarm", steps=ALARM)
    run = start([FAIL], on_failure={"workflow": "alarm"})
    alarm = Run.objects.get(workflow__name="alarm")
    define("alarm", steps=[*ALARM, {"type": "tests.echo", "with": {"value": "{{ run.id }}"}}])
    assert fresh(restart_run(alarm, newest=True)).output == str(run.pk)


# Called workflows


def test_retry_of_a_call_whose_child_cannot_be_retried_ends_with_the_failure_of_the_child() -> None:
    define("child", steps=[done("a"), FAIL], on_failure="undo")
    run = start([{"name": "call", "type": "flow.call", "with": {"workflow": "child"}}])
    retry_run(run)
    process.forget()
    callers.repeat("default")
    assert fresh(run).status == "failed"


def test_run_that_would_wait_for_itself_fails() -> None:
    call = {"type": "flow.call", "with": {"workflow": "{{ who }}", "key": "k"}}
    define("loop", steps=[call])
    assert fresh(trigger("loop", {"who": "loop"}, key="k")).status == "failed"


def test_run_that_would_wait_for_its_caller_fails() -> None:
    define("above", steps=[{"type": "flow.call", "with": {"workflow": "{{ who }}", "key": "k"}}])
    define("below", steps=[{"type": "flow.call", "with": {"workflow": "above", "key": "k"}}])
    assert fresh(trigger("above", {"who": "below"}, key="k")).status == "failed"


def test_key_that_cannot_be_one_is_permanent() -> None:
    define("child", steps=[{"type": "tests.echo"}])
    call = {"type": "flow.call", "with": {"workflow": "child", "key": "{{ key }}"}}
    run = start([{**call, "retry": {"attempts": 3, "delay": 0}}], {"key": ""})
    assert step_runs(run).count() == 1


def test_error_after_the_commit_of_a_retry_is_logged_and_not_raised() -> None:
    define("child", steps=[FAIL])
    run = start([{"name": "call", "type": "flow.call", "with": {"workflow": "child"}}])

    def break_down(using: str, run_id: UUID) -> None:
        raise OSError("the connection went away")

    retry(run, using="default", by=None, note="", wake=break_down)
    assert fresh(run).status == "waiting"


# Events


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


def test_event_may_be_called_timeout() -> None:
    wait = {"name": "wait", "type": "flow.wait", "with": {"event": "timeout"}, "timeout": "1h"}
    run = start([wait])
    pause_run(run)
    send_event(run, "timeout", 5)
    row = step_run(run, "wait")
    until = datetime.fromisoformat(row.awaits["until"]) - timedelta(hours=2)
    row.awaits = {**row.awaits, "until": until.isoformat()}
    row.save()
    resume_run(run)
    assert fresh(run).output == {"event": "timeout", "payload": 5}


def test_command_says_that_the_name_of_an_event_is_wrong() -> None:
    run = start([{"type": "flow.wait", "with": {"event": "go"}}])
    with pytest.raises((CommandError, SystemExit)):
        call_command("workflow_runs", "event", str(run.pk), "--name", "")


# Approvals


def test_who_is_not_asked_does_not_learn_from_a_link_who_answered(settings: Any, boss: User) -> None:
    settings.DJANGO_WORKFLOW = {**settings.DJANGO_WORKFLOW, "BASE_URL": "https://shop.example"}
    run = start([{"name": "ok", "type": "flow.approval", "with": {"users": ["boss"]}}])
    link = ApprovalLink(using="default", step_run_id=step_run(run, "ok").pk)
    approve(run, "ok", by=boss)
    client = Client()
    client.force_login(User.objects.create_user("clerk"))
    page = client.get(link_url(link).removeprefix("https://shop.example"))
    assert "boss" not in page.content.decode()


def test_username_that_looks_like_a_key_does_not_take_the_place_of_that_user(boss: User) -> None:
    other = User.objects.create_user(str(boss.pk))
    run = start([{"name": "ok", "type": "flow.approval", "with": {"users": [str(boss.pk)]}}])
    run = fresh(run)
    assert run.status == "failed"
    assert "the key of one user and the username of another" in run.error
    with pytest.raises(VerbRefused):
        approve(run, "ok", by=other)
