"""``retry_run`` of a run that failed by one that it had called: that one is retried, where it can be."""

from __future__ import annotations

import pytest

from django_workflow import cancel_run, define, restart_run, retry_run, send_event, trigger
from django_workflow.engine.control import end_overdue
from django_workflow.engine.now import database_now
from django_workflow.models import Run
from tests.support.runs import abandon, fresh, let_time_pass, notes, step_runs

pytestmark = pytest.mark.django_db(transaction=True)


def _trigger(**call: object) -> Run:
    define("child", steps=[{"name": "deep", "type": "tests.work"}])
    call = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}, **call}
    define("parent", steps=[call, {"name": "after", "type": "tests.note"}])
    return fresh(trigger("parent", {"values": [1, 2]}))


def _children() -> list[Run]:
    return list(Run.objects.filter(workflow__name="child").order_by("pk"))


def test_a_failed_child_is_retried_and_gives_its_output(broken) -> None:
    broken.add("deep")
    run = _trigger()
    assert (run.status, [child.status for child in _children()]) == ("failed", ["failed"])
    broken.clear()
    retry_run(run)
    assert (fresh(run).status, [child.status for child in _children()]) == ("done", ["done"])
    assert (run.output_of("call"), notes()) == ("deep worked", ["deep 1", "deep 2", "after"])


def test_a_child_that_was_put_right_by_itself_gives_its_output(broken) -> None:
    broken.add("deep")
    run = _trigger()
    broken.clear()
    retry_run(_children()[0])
    assert fresh(run).status == "failed"
    retry_run(run)
    assert (fresh(run).status, run.output_of("call")) == ("done", "deep worked")
    assert len(_children()) == 1


def test_a_child_that_fails_again_fails_its_caller_again(broken) -> None:
    broken.add("deep")
    run = _trigger()
    retry_run(run)
    assert (fresh(run).status, len(_children())) == ("failed", 1)
    assert "no deep" in fresh(run).error
    broken.clear()
    retry_run(run)
    assert fresh(run).status == "done"


def test_a_child_that_was_restarted_gives_the_output_of_its_restart(broken) -> None:
    broken.add("deep")
    run = _trigger()
    broken.clear()
    restart_run(_children()[0])
    retry_run(run)
    assert (fresh(run).status, run.output_of("call")) == ("done", "deep worked")
    assert notes() == ["deep 1", "deep 1", "after"]


def test_the_end_of_a_restart_wakes_who_waits_for_the_run_it_replaced(broken) -> None:
    broken.add("deep")
    run = _trigger()
    define("child", steps=[{"type": "flow.wait", "with": {"event": "go"}}])
    newer = restart_run(_children()[0], newest=True)
    retry_run(run)
    assert (fresh(run).status, fresh(newer).status) == ("waiting", "waiting")
    send_event(newer, "go")
    assert (fresh(run).status, fresh(newer).status, len(_children())) == ("done", "done", 2)


def test_in_place_of_a_cancelled_child_another_is_called(broken) -> None:
    define("child", steps=[{"name": "deep", "type": "flow.sleep", "with": {"for": "1h"}}])
    define("parent", steps=[{"name": "call", "type": "flow.call", "with": {"workflow": "child"}}])
    run = trigger("parent")
    cancel_run(_children()[0])
    assert fresh(run).status == "failed"
    retry_run(run)
    assert [child.status for child in _children()] == ["cancelled", "waiting"]


def test_in_place_of_a_child_that_is_being_cancelled_another_is_called() -> None:
    define("child", steps=[{"name": "deep", "type": "flow.sleep", "with": {"for": "1h"}}])
    call = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}}
    define("parent", steps=[call], timeout="1d")
    run = trigger("parent")
    abandon(_children()[0], "deep")
    Run.objects.filter(pk=run.pk).update(deadline=run.created_at)
    assert end_overdue("default", database_now("default")) == 1
    assert (fresh(run).status, [child.ending for child in _children()]) == ("failed", ["cancelled"])
    retry_run(run)
    assert [(child.status, child.ending) for child in _children()] == [
        ("running", "cancelled"),
        ("waiting", ""),
    ]
    assert (let_time_pass(_children()[1]).status, fresh(run).status) == ("done", "done")


def test_in_place_of_a_deleted_child_another_is_called(broken) -> None:
    broken.add("deep")
    run = _trigger()
    _children()[0].delete()
    broken.clear()
    retry_run(run)
    assert (fresh(run).status, len(_children())) == ("done", 1)


def test_of_a_map_over_children_only_the_failed_ones_are_retried(broken, register) -> None:
    reasons = [2]

    @register("tests.item")
    def item(context, value: int) -> int:
        if value in reasons:
            raise ValueError("no")
        return value * 10

    steps = [{"name": "deep", "type": "tests.item", "with": {"value": "{{ value }}"}}]
    define("child", steps=steps)
    call = {"workflow": "child", "input": {"value": "{{ item }}"}}
    define("parent", steps=[{"name": "call", "type": "flow.call", "for_each": "values", "with": call}])
    run = trigger("parent", {"values": [1, 2, 3]})
    assert fresh(run).status == "failed"
    reasons.clear()
    retry_run(run)
    assert (fresh(run).status, run.output_of("call")) == ("done", [10, 20, 30])
    assert step_runs(run).filter(index=0).count() == 1


def test_a_caller_inside_a_called_run_is_retried_to_the_bottom(broken) -> None:
    broken.add("deep")
    _trigger()
    define("top", steps=[{"name": "call", "type": "flow.call", "with": {"workflow": "parent"}}])
    top = trigger("top")
    assert fresh(top).status == "failed"
    broken.clear()
    retry_run(top)
    assert fresh(top).status == "done"


def test_a_restarted_parent_calls_anew(broken) -> None:
    broken.add("deep")
    run = _trigger()
    broken.clear()
    new = restart_run(run)
    assert (fresh(new).status, fresh(run).status) == ("done", "failed")
    assert [child.status for child in _children()] == ["failed", "done"]
