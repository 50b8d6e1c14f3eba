"""``retry_run`` of a run and the runs that it has called, while others end, undo or revive them."""

from __future__ import annotations

from uuid import UUID

import pytest

from django_workflow import define, pause_run, process, resume_run, retry_run, send_event, undo_run
from django_workflow.engine import callers
from django_workflow.engine.execute import work
from django_workflow.engine.retry import retry
from django_workflow.models import Run
from tests.support.one_by_one import claim_all, execute_alone, ready_run
from tests.support.runs import fresh, history, silent_commit, start, step_run
from tests.support.waiting import forward

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "tests.fail"}
WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": 7}}
CALL = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}}
UNDO = {"undo": {"type": "tests.note"}}


def test_retry_goes_through_the_failed_child(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    run = start([CALL])
    assert run.status == "failed"
    broken.clear()
    retry_run(run)
    run = fresh(run)
    assert (run.status, run.output) == ("done", "worked")
    assert Run.objects.filter(workflow__name="child").count() == 1
    assert history(run) == ["call:failed", "call:done"]


def test_retry_of_a_map_retries_only_the_children_that_failed(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    run = start([{**CALL, "for_each": "values", "on_error": "fail"}], {"values": [1, 2, 3]})
    assert run.status == "failed"
    before = Run.objects.count()
    broken.clear()
    retry_run(run)
    run = fresh(run)
    assert (run.status, run.output) == ("done", ["worked"] * 3)
    assert Run.objects.count() <= before + 3


def test_retry_of_a_call_whose_child_cannot_be_retried_ends_with_the_failure_of_the_child() -> None:
    define("child", steps=[{**ECHO, **UNDO}, FAIL], on_failure="undo")
    run = start([CALL])
    retry_run(run)
    process.forget()
    callers.repeat("default")
    assert fresh(run).status == "failed"


def test_error_after_the_commit_of_a_retry_is_logged_and_not_raised() -> None:
    define("child", steps=[FAIL])
    run = start([CALL])

    def break_down(using: str, run_id: UUID) -> None:
        raise OSError("the connection went away")

    retry(run, using="default", by=None, note="", wake=break_down)
    assert fresh(run).status == "waiting"


def test_call_that_the_ending_overtook_is_made_by_the_retry(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[ECHO])
    run = ready_run([{**CALL, "needs": []}, {"name": "broken", "type": "tests.may_fail", "needs": []}])
    claims = claim_all(run)
    execute_alone(claims["broken"])
    execute_alone(claims["call"])
    assert history(run) == ["call:cancelled", "broken:failed"]
    broken.clear()
    retry_run(run)
    assert fresh(run).output_of("call") == 7


def test_retry_calls_anew_where_the_failed_child_was_undone(broken: set[int]) -> None:
    broken.add(1)
    work_, undone = {"name": "work", "type": "tests.may_fail"}, {**ECHO, **UNDO}
    define("child", steps=[undone, work_], on_failure="undo")
    run = start([CALL])
    broken.clear()
    retry_run(run)
    assert (fresh(run).status, fresh(run).output_of("call")) == ("done", "worked")
    assert Run.objects.filter(workflow__name="child").count() == 2


def test_retry_of_a_child_that_is_refused_later_fails_the_caller(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{**ECHO, **UNDO}, {"name": "work", "type": "tests.may_fail"}])
    run = start([CALL])
    with silent_commit():
        retry_run(run)
    undo_run(Run.objects.get(workflow__name="child"))
    process.forget()
    callers.repeat("default")
    work("default")
    assert (fresh(run).status, history(run)) == ("failed", ["call:failed", "call:failed"])


def test_child_that_fails_again_is_retried_once(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    run = start([CALL])
    retry_run(run)
    assert fresh(run).status == "failed"
    assert history(Run.objects.get(workflow__name="child")) == ["work:failed", "work:failed"]


def test_child_that_a_person_revived_meanwhile_is_waited_for_again(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail", "delay": "1h"}, WAIT])
    run = start([CALL])
    pause_run(run)
    forward(Run.objects.get(workflow__name="child"), hours=2)
    child = Run.objects.get(workflow__name="child")
    assert (child.status, step_run(run, "call").status) == ("failed", "pending")
    broken.clear()
    retry_run(child)
    resume_run(run)
    process.forget()
    callers.repeat("default")
    assert (fresh(child).status, step_run(run, "call").waiting_for) == ("waiting", "child")
    send_event(child, "go", 3)
    assert fresh(run).output_of("call") == {"event": "go", "payload": 3}
