"""Undos that wait or call, that come early or late, and undo after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import StepContext, cancel_run, define, restart_run, send_event, undo_run
from django_workflow.engine.execute import work
from django_workflow.models import Run
from tests.support.one_by_one import claim_all, execute_alone, ready_run
from tests.support.runs import fresh, notes, start, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "tests.fail", "with": {"message": "too late"}}
WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": 7}}
UNDO = {"undo": {"type": "tests.note"}}


def done(name: str, undo: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a step that is done; its undo notes its name, unless it is another."""
    own = {"type": "tests.note", "with": {"text": name}}
    return {"name": name, "type": "tests.echo", "undo": undo or own}


def test_undo_that_is_a_call_starts_the_called_workflow() -> None:
    define("child", steps=[{"type": "tests.echo"}])
    undo = {"type": "flow.call", "with": {"workflow": "child"}}
    run = start([done("a", undo), FAIL], on_failure="undo")
    assert Run.objects.filter(workflow__name="child").count() == 1
    assert step_run(run, "a:undo").child.status == "done"


def test_undo_may_call_a_workflow_and_wait_for_it() -> None:
    define("child", steps=[WAIT, {"type": "tests.note"}])
    run = start(
        [{**ECHO, "undo": {"type": "flow.call", "with": {"workflow": "child"}}}, FAIL], on_failure="undo"
    )
    assert (fresh(run).status, step_run(run, "echo:undo").waiting_for) == ("running", "child")
    send_event(Run.objects.get(workflow__name="child"), "go")
    assert (fresh(run).status, notes()) == ("failed", ["tests_note"])


def test_undo_that_waits_for_an_event_is_woken_by_it() -> None:
    run = start([done("a", {"type": "flow.wait", "with": {"event": "refunded"}}), FAIL], on_failure="undo")
    assert send_event(run, "refunded")
    assert fresh(run).status == "failed"


def test_event_that_comes_before_the_undo_waits_for_it_is_not_lost() -> None:
    undo = {"type": "flow.wait", "with": {"event": "refunded"}}
    run = start([done("a", undo), WAIT, FAIL], on_failure="undo")
    send_event(run, "refunded")
    send_event(run, "go")
    assert fresh(run).status == "failed"


@pytest.mark.parametrize("is_early", [False, True])
def test_undo_may_wait_for_an_event(is_early: bool) -> None:
    undo = {"type": "flow.wait", "with": {"event": "go"}}
    run = start([{**ECHO, "undo": undo}, {**WAIT, "with": {"event": "stop"}}], on_failure="undo")
    if is_early:
        send_event(run, "go")
    cancel_run(run)
    undo_run(run)
    if not is_early:
        assert fresh(run).status == "running"
        send_event(run, "go")
    assert (fresh(run).status, step_run(run, "echo:undo").status) == ("cancelled", "done")


def test_undo_is_not_told_that_it_is_cancelled(register) -> None:
    seen: list[bool] = []

    @register("tests.undo")
    def undo(context: StepContext) -> None:
        context.heartbeat()
        seen.append(context.cancelled)

    start([{**ECHO, "undo": {"type": "tests.undo"}}, FAIL], on_failure="undo")
    assert seen == [False]


def test_branch_that_ends_last_in_a_failed_run_is_undone_first() -> None:
    steps = [{**ECHO, "name": "a", "needs": [], **UNDO}, {**ECHO, "name": "b", "needs": [], **UNDO}]
    run = ready_run([*steps, {**FAIL, "needs": []}], on_failure="undo")
    claims = claim_all(run)
    for name in ("a", "broken", "b"):
        execute_alone(claims[name])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["b:undo", "a:undo"])


def test_only_branch_with_an_undo_that_ends_last_in_a_failed_run_is_undone() -> None:
    run = ready_run([{**ECHO, "needs": [], **UNDO}, {**FAIL, "needs": []}], on_failure="undo")
    claims = claim_all(run)
    execute_alone(claims["broken"])
    execute_alone(claims["echo"])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["echo:undo"])


def test_run_that_was_restarted_from_its_start_can_still_be_undone() -> None:
    run = start([done("a"), FAIL])
    restart_run(run)
    undo_run(run)
    assert notes() == ["a"]


def test_failed_undo_can_be_finished_after_a_restart_from_the_start(register: Callable[..., Any]) -> None:
    failing = {"a"}

    @register("tests.take_back")
    def take_back(text: str) -> None:
        if text in failing:
            raise ValueError(f"cannot take back {text}")
        Note.objects.create(text=text)

    run = start([done("a", {"type": "tests.take_back", "with": {"text": "a"}}), FAIL], on_failure="undo")
    restart_run(run)
    failing.clear()
    undo_run(run)
    assert notes() == ["a"]
