"""Called workflows: ends go up, cancels go down, and never two run locks at once."""

from __future__ import annotations

from typing import Any

import pytest

from django_workflow import cancel_run, define, pause_run, process, resume_run, retry_run, send_event, trigger
from django_workflow.engine import callers
from django_workflow.engine.calling import MAX_DEPTH
from django_workflow.engine.execute import work
from django_workflow.engine.programs import get_program
from django_workflow.models import Run, StepRun, Workflow, WorkflowVersion
from tests.support.one_by_one import execute_next, ready_run
from tests.support.runs import fresh, silent_commit, start, step_run, step_runs
from tests.support.waiting import forward

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": "{{ value|default:None }}"}}
WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}


def call(**fields: Any) -> dict[str, Any]:
    params = {"workflow": "child", **fields.pop("params", {})}
    return {"name": "call", "type": "flow.call", "with": params, **fields}


def start_parent(*steps: dict[str, Any], **fields: Any) -> Run:
    define("parent", steps=steps, **fields)
    return fresh(trigger("parent", {"values": [1, 2, 3]}))


def only_child() -> Run:
    return Run.objects.get(workflow__name="child")


def test_output_of_the_called_workflow_is_that_of_the_step() -> None:
    define("child", steps=[ECHO])
    after = {"name": "after", "type": "tests.echo", "with": {"value": "{{ steps.call }}"}}
    run = start_parent(call(params={"input": {"value": "{{ values }}"}}), after)
    assert (run.status, run.output) == ("done", [1, 2, 3])
    child = only_child()
    assert child.source == "call"
    assert child.parent == step_run(run, "call")
    assert list(step_run(run, "call").children.all()) == [child]


def test_parent_waits_for_its_child() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call())
    assert run.status == "waiting"
    assert step_run(run, "call").waiting_for == "child"
    send_event(only_child(), "go", 7)
    assert fresh(run).output == {"event": "go", "payload": 7}


def test_child_that_is_not_waited_for_gives_its_id() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call(params={"wait": False}))
    child = only_child()
    assert (run.status, run.output) == ("done", str(child.pk))
    assert child.status == "waiting"


def test_failure_of_the_child_is_that_of_the_step() -> None:
    define("child", steps=[{"type": "tests.fail", "with": {"message": "no card"}}])
    run = start_parent(call())
    assert run.status == "failed"
    assert run.error_type == "django_workflow.exceptions.ChildFailed"
    assert str(only_child().pk) in run.error
    assert "no card" in run.error


def test_each_attempt_by_policy_starts_a_new_child() -> None:
    define("child", steps=[{"type": "tests.fail"}])
    run = start_parent(call(retry={"attempts": 3, "delay": 0}))
    assert run.status == "failed"
    assert Run.objects.filter(workflow__name="child").count() == 3


def test_cancel_of_the_parent_cancels_its_children() -> None:
    define("child", steps=[call(params={"workflow": "grandchild"})])
    define("grandchild", steps=[WAIT])
    define("child", steps=[call(params={"workflow": "grandchild"})])
    run = start_parent(call())
    cancel_run(run)
    assert {each.status for each in Run.objects.all()} == {"cancelled"}
    assert Run.objects.count() == 3


def test_child_that_is_not_waited_for_outlives_its_parent() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call(params={"wait": False}), {**WAIT, "name": "more"})
    cancel_run(run)
    assert only_child().status == "waiting"


def test_cancelled_child_fails_the_step() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call(on_error="continue"))
    cancel_run(only_child())
    run = fresh(run)
    assert run.status == "done"
    assert "cancelled" in step_run(run, "call").error


def test_deleted_child_fails_the_step() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call())
    only_child().delete()
    process.forget()
    assert callers.repeat("default") == 1
    assert fresh(run).status == "failed"


def test_pause_does_not_reach_the_child_and_its_end_counts_at_resume() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call())
    pause_run(run)
    send_event(only_child(), "go")
    assert only_child().status == "done"
    assert fresh(run).status == "paused"
    resume_run(run)
    assert fresh(run).status == "done"


def test_map_over_a_called_workflow() -> None:
    define("child", steps=[ECHO])
    run = start_parent(call(for_each="values", params={"input": {"value": "{{ item }}"}}))
    assert (run.status, run.output) == ("done", [1, 2, 3])
    assert Run.objects.filter(workflow__name="child").count() == 3


def test_no_more_runs_are_called_at_once_than_max_parallel() -> None:
    define("child", steps=[WAIT])
    define("parent", steps=[call(for_each="values", max_parallel=4)])
    run = trigger("parent", {"values": list(range(6))})
    called = Run.objects.filter(workflow__name="child")
    assert called.count() == 4
    while live := called.active().first():
        send_event(live, "go")
        assert called.active().count() <= 4
    assert (fresh(run).status, called.count()) == ("done", 6)


def test_child_that_two_runs_wait_for_outlives_one_of_them() -> None:
    define("child", steps=[WAIT])
    one, other = (start_parent(call(params={"key": "k"})) for _ in range(2))
    cancel_run(one)
    assert (only_child().status, fresh(other).status) == ("waiting", "waiting")
    cancel_run(other)
    assert (callers.repeat("default"), only_child().status) == (1, "cancelled")


def test_two_steps_wait_for_one_child_that_a_key_names() -> None:
    define("child", steps=[WAIT])
    one = call(params={"key": "k"})
    run = start_parent(one, {**one, "name": "other", "needs": []})
    child = only_child()
    assert {row.child for row in StepRun.objects.filter(run=run)} == {child}
    send_event(child, "go", 1)
    assert fresh(run).status == "done"


def test_child_that_a_key_names_and_that_is_over_gives_its_output_at_once() -> None:
    define("child", steps=[ECHO])
    trigger("child", {"value": "earlier"}, key="k")
    run = start_parent(call(params={"key": "k"}))
    assert (run.status, run.output) == ("done", "earlier")


def test_child_of_a_workflow_that_is_off_fails_the_step() -> None:
    define("child", steps=[ECHO])
    Workflow.objects.filter(name="child").update(enabled=False)
    run = start_parent(call())
    assert run.status == "failed"
    assert "switched off" in run.error


def test_wait_for_a_child_past_its_timeout_fails_and_cancels_it() -> None:
    define("child", steps=[WAIT])
    run = start_parent(call(timeout="1h", on_error="continue"))
    forward(run, hours=2)
    assert fresh(run).status == "done"
    assert step_run(run, "call").error_type.endswith("WaitTimeout")
    assert only_child().status == "cancelled"


def test_error_in_the_input_of_the_child_fails_the_step_and_starts_nothing() -> None:
    define("child", steps=[ECHO], input={"value": "int"})
    run = start_parent(call(params={"input": {"value": "x"}}))
    assert run.status == "failed"
    assert "input of child" in run.error
    assert not Run.objects.filter(workflow__name="child").exists()


def test_unknown_workflow_fails_the_step() -> None:
    run = start_parent(call(params={"workflow": "nothing"}))
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.WorkflowNotFound")


def test_calls_end_at_the_deepest_level() -> None:
    define(
        "child", steps=[{"name": "again", "type": "flow.call", "if": "1 == 1", "with": {"workflow": "child"}}]
    )
    run = start_parent(call())
    assert run.status == "failed"
    assert Run.objects.count() == MAX_DEPTH + 1
    assert "TooDeep" in Run.objects.get(depth=MAX_DEPTH).error_type


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


def test_child_found_by_its_key_and_deleted_at_once_fails_the_call_with_its_own_error() -> None:
    define("child", steps=[ECHO])
    child = trigger("child", key="k")
    run = ready_run([call(params={"key": "k"})])
    execute_next(run)
    child.delete()
    work("default")
    assert fresh(run).error_type == "django_workflow.exceptions.ChildFailed"


def test_child_that_cannot_be_moved_is_in_no_other_ones_way(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    lost = start([call()])
    with silent_commit():
        retry_run(lost)
    version = Run.objects.get(workflow__name="child").version
    assert version is not None
    define("child", steps=[WAIT])
    define("other", steps=[call()])
    healthy = trigger("other")
    Run.objects.filter(workflow__name="child", status="waiting").delete()
    WorkflowVersion.objects.filter(pk=version.pk).update(spec=[])
    get_program.cache_clear()
    process.forget()
    callers.repeat("default")
    work("default")
    assert fresh(healthy).error_type == "django_workflow.exceptions.ChildFailed"
    assert fresh(lost).status == "waiting"
