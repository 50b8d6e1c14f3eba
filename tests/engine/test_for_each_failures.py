"""``for_each``: what items that fail do, by ``on_error``, by policy and by ``retry_run``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_workflow import StepContext, WaitForEvent, retry_run, send_event
from django_workflow.engine.control import end_overdue
from django_workflow.models import Run
from tests.support.runs import fresh, items_of, notes, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)
FAILING = {"name": "each", "type": "tests.work", "for_each": "values", "with": {"value": "{{ item }}"}}


def test_attempts_are_per_item(broken_items) -> None:
    broken_items.add(2)
    run = start(
        [{**FAILING, "retry": {"attempts": 3, "delay": 0}, "on_error": "continue"}], {"values": [1, 2, 3]}
    )
    assert run.output == [10, None, 30]
    assert notes().count("2") == 3
    assert notes().count("1") == notes().count("3") == 1


def test_continue_is_per_item_and_keeps_each_error(broken_items) -> None:
    broken_items |= {1, 3}
    run = start(
        [{**FAILING, "on_error": "continue"}, {"type": "tests.echo", "with": {"value": "{{ errors.each }}"}}],
        {"values": [1, 2, 3]},
    )
    assert (run.status, step_run(run, "each", index=-1).output) == ("done", [None, 20, None])
    assert run.output == [
        {"index": 0, "type": "ValueError", "message": "no 1"},
        {"index": 2, "type": "ValueError", "message": "no 3"},
    ]


def test_fail_acts_once_and_cancels_the_items_not_begun(broken_items) -> None:
    broken_items.add(2)
    run = start([FAILING], {"values": [1, 2, 3, 4]})
    assert (run.status, run.error_type, run.error) == ("failed", "ValueError", "item 1: no 2")
    assert items_of(run) == ["each[0]:done", "each[1]:failed", "each[2]:cancelled", "each[3]:cancelled"]
    assert step_run(run, "each", index=-1).status == "failed"
    assert notes() == ["1", "2"]


def test_a_step_name_acts_once_for_the_whole_step(broken_items) -> None:
    broken_items |= {1, 2}
    steps = [
        {**FAILING, "on_error": "rescue"},
        {"name": "passed", "type": "tests.fail"},
        {
            "name": "rescue",
            "type": "tests.echo",
            "needs": "jump",
            "with": {"value": "{{ error.step }}: {{ error.message }}"},
        },
    ]
    run = start(steps, {"values": [1, 2]})
    assert (run.status, run.output) == ("done", "each: item 0: no 1")
    assert step_runs(run).filter(step="rescue").count() == 1


def test_an_error_is_mapped_by_its_class_for_items_too(broken_items) -> None:
    broken_items.add(2)
    assert start([{**FAILING, "on_error": {"ValueError": "continue"}}], {"values": [1, 2]}).output == [
        10,
        None,
    ]
    assert start([{**FAILING, "on_error": {"KeyError": "continue"}}], {"values": [1, 2]}).status == "failed"


def test_retry_run_runs_only_the_items_that_failed_or_never_ran(broken_items) -> None:
    broken_items.add(2)
    run = start([FAILING, {"type": "tests.echo"}], {"values": [1, 2, 3]})
    assert run.status == "failed"
    broken_items.clear()
    retry_run(run)
    run = fresh(run)
    assert run.status == "done"
    assert step_run(run, "each", index=-1, current=True).output == [10, 20, 30]
    assert notes() == ["1", "2", "2", "3"]
    assert items_of(run, current=True) == ["each[0]:done", "each[1]:done", "each[2]:done"]


def test_retry_run_that_fails_again_can_be_retried_again(broken_items) -> None:
    broken_items |= {2, 3}
    run = start([{**FAILING, "max_parallel": 1}], {"values": [1, 2, 3]})
    broken_items.discard(2)
    retry_run(run)
    assert fresh(run).error == "item 2: no 3"
    broken_items.clear()
    retry_run(run)
    assert fresh(run).output == [10, 20, 30]
    assert notes() == ["1", "2", "2", "3", "3"]


def test_retry_leaves_the_items_whose_failure_was_met(broken_items) -> None:
    broken_items.add(2)
    run = start(
        [{**FAILING, "on_error": "continue"}, {"name": "after", "type": "tests.work", "with": {"value": 2}}],
        {"values": [1, 2]},
    )
    assert run.status == "failed"
    broken_items.clear()
    retry_run(run)
    assert fresh(run).output == 20
    assert notes() == ["1", "2", "2", "2"]


def test_a_bad_param_of_one_item_is_that_items_failure(broken_items) -> None:
    run = start([{**FAILING, "on_error": "continue"}], {"values": [1, "no number"]})
    assert (run.status, run.output) == ("done", [10, None])


def test_an_item_recorded_while_the_run_was_ending_makes_no_jump_of_its_own_at_a_retry(register) -> None:
    @register("tests.work")
    def work(context: StepContext, value: int) -> Any:
        if value == 2:
            Run.objects.update(deadline=timezone.now() - timedelta(minutes=1))
            end_overdue("default", timezone.now())
        return WaitForEvent("go") if value == 3 and context.event is None else value

    goal = {"name": "goal", "type": "tests.note", "needs": "jump"}
    run = start([{**FAILING, "max_parallel": 1, "next": "goal"}, goal], {"values": [1, 2, 3]}, timeout="1d")
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.RunTimeout")
    retry_run(run)
    assert (fresh(run).status, notes()) == ("waiting", [])
    send_event(run, "go")
    assert (fresh(run).status, notes()) == ("done", ["goal"])
