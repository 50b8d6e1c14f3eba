"""Undo: what is done is taken back, the latest first, each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import Retry, StepContext, VerbRefused, cancel_run, retry_run, skip_step, undo_run
from django_workflow.engine.control import end_overdue
from django_workflow.engine.execute import work
from django_workflow.engine.now import database_now
from django_workflow.engine.recover import recover_worker
from django_workflow.models import Run
from tests.support.runs import abandon, fresh, notes, start, step_run, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "tests.fail", "with": {"message": "too late"}}


def done(name: str, *, undo: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a step that gives ``id-<name>``, and whose undo notes that."""
    own = {"type": "tests.take_back", "with": {"text": f"{{{{ steps.{name} }}}}"}}
    return {
        "name": name,
        "type": "tests.echo",
        "with": {"value": f"id-{name}"},
        "undo": undo or own,
        **fields,
    }


@pytest.fixture(autouse=True)
def take_back(register: Callable[..., Any]) -> set[str]:
    """Register the step type ``tests.take_back``, which fails at the texts in the set."""
    failing: set[str] = set()

    @register("tests.take_back")
    def take_back(context: StepContext, text: Any) -> str:
        if text in failing:
            raise ValueError(f"cannot take back {text}")
        Note.objects.create(text=f"{text} by {context.step}")
        return f"took back {text}"

    @register("tests.count")
    def count(context: StepContext) -> int:
        return context.visit

    return failing


def test_failed_run_is_undone_in_reverse_order_of_completion() -> None:
    run = start([done("a"), done("b"), {"name": "plain", "type": "tests.echo"}, FAIL], on_failure="undo")
    run = fresh(run)
    assert notes() == ["id-b by b:undo", "id-a by a:undo"]
    assert (run.status, run.error) == ("failed", "too late")
    undone = step_run(run, "b:undo")
    assert (undone.status, undone.undoes) == ("done", step_run(run, "b"))
    assert step_run(run, "b").undone_by.get() == undone


def test_run_that_ends_well_is_not_undone() -> None:
    assert start([done("a")], on_failure="undo").status == "done"
    assert notes() == []


def test_without_on_failure_nothing_is_undone() -> None:
    assert start([done("a"), FAIL]).status == "failed"
    assert notes() == []


def test_flow_fail_after_a_handled_error_is_undone_too() -> None:
    steps = [
        done("a"),
        {**FAIL, "on_error": "give_up"},
        {"name": "give_up", "type": "flow.fail", "needs": "jump", "with": {"message": "sorry"}},
    ]
    run = fresh(start(steps, on_failure="undo"))
    assert (run.status, run.error, notes()) == ("failed", "sorry", ["id-a by a:undo"])


def test_cancelled_run_is_undone_only_when_it_is_asked_for() -> None:
    run = start([done("a"), {"name": "wait", "type": "flow.wait", "with": {"event": "x"}}], on_failure="undo")
    cancel_run(run)
    assert notes() == []
    undo_run(run)
    assert fresh(run).status == "cancelled"
    assert notes() == ["id-a by a:undo"]


def test_done_run_can_be_undone_and_is_done_again() -> None:
    run = start([done("a"), done("b")])
    undo_run(run)
    run = fresh(run)
    assert (run.status, run.ending) == ("done", "done")
    assert notes() == ["id-b by b:undo", "id-a by a:undo"]
    with pytest.raises(VerbRefused, match="undone already"):
        undo_run(run)
    assert len(notes()) == 2


def test_each_item_is_undone() -> None:
    undo = {"type": "tests.take_back", "with": {"text": "{{ item }}-{{ index }}-{{ output }}"}}
    each = done("a", undo=undo, for_each="values")
    each["with"] = {"value": "{{ item|upper }}"}
    start([each, FAIL], {"values": ["x", "y"]}, on_failure="undo")
    assert notes() == ["y-1-Y by a:undo", "x-0-X by a:undo"]


def test_each_visit_is_undone_with_its_own_output() -> None:
    step = done("a", undo={"type": "tests.take_back", "with": {"text": "{{ output }} {{ steps.a }}"}})
    steps = [
        {**step, "type": "tests.count", "with": {}},
        {"name": "again", "type": "flow.branch", "with": {"if": "steps.a < 3", "then": "a"}},
        FAIL,
    ]
    start(steps, on_failure="undo")
    assert notes() == [f"{n} {n} by a:undo" for n in (3, 2, 1)]


def test_undo_that_fails_stops_the_others_and_can_be_retried(take_back: set[str]) -> None:
    take_back.add("id-b")
    run = fresh(start([done("a"), done("b"), done("c"), FAIL], on_failure="undo"))
    assert (run.status, run.step) == ("failed", "broken")
    assert notes() == ["id-c by c:undo"]
    assert step_run(run, "b:undo").error == "cannot take back id-b"
    with pytest.raises(VerbRefused, match="undo"):
        retry_run(run)
    take_back.clear()
    undo_run(run)
    assert fresh(run).status == "failed"
    assert notes() == ["id-c by c:undo", "id-b by b:undo", "id-a by a:undo"]


def test_undo_that_fails_can_be_skipped(take_back: set[str]) -> None:
    take_back.add("id-b")
    run = start([done("a"), done("b"), FAIL], on_failure="undo")
    skip_step(run, "b:undo")
    assert fresh(run).status == "failed"
    assert notes() == ["id-a by a:undo"]


def test_undo_is_retried_by_the_policy_of_its_handler(register: Callable[..., Any]) -> None:
    calls: list[int] = []

    @register("tests.third_time", retry=Retry(attempts=3, delay=0))
    def third_time(context: StepContext) -> str:
        calls.append(context.attempt)
        if len(calls) < 3:
            raise ValueError("not yet")
        return "done"

    run = start([done("a", undo={"type": "tests.third_time"}), FAIL], on_failure="undo")
    assert calls == [1, 2, 3]
    assert [row.status for row in step_runs(run).filter(step="a:undo")] == ["failed", "failed", "done"]


def test_undo_goes_on_after_a_crash() -> None:
    run = start([done("a"), done("b"), FAIL])
    Run.objects.filter(pk=run.pk).update(ending="failed", status="running", finished_at=None)
    at = run.created_at
    step_runs(run).create(
        run=run,
        step="b:undo",
        undoes=step_run(run, "b"),
        current=False,
        created_at=at,
        due_at=at,
    )
    abandon(run, "b:undo", worker="dead")
    assert recover_worker("default", "dead") == 1
    work("default")
    assert fresh(run).status == "failed"
    assert notes() == ["id-b by b:undo", "id-a by a:undo"]


def test_run_that_goes_on_cannot_be_undone() -> None:
    run = start([done("a"), {"name": "wait", "type": "flow.wait", "with": {"event": "x"}}])
    with pytest.raises(VerbRefused, match="cancel it first"):
        undo_run(run)


def test_run_without_anything_to_undo_says_so() -> None:
    with pytest.raises(VerbRefused, match="has an undo"):
        undo_run(start([{"type": "tests.echo"}]))


def test_run_out_of_time_is_undone_past_its_deadline() -> None:
    steps = [done("a"), {"name": "wait", "type": "flow.wait", "with": {"event": "x"}}]
    run = start(steps, on_failure="undo", timeout="1h")
    Run.objects.filter(pk=run.pk).update(deadline=run.created_at)
    end_overdue("default", database_now("default"))
    work("default")
    run = fresh(run)
    assert run.error_type.endswith("RunTimeout")
    assert notes() == ["id-a by a:undo"]


def test_a_run_that_was_undone_says_where_it_failed() -> None:
    run = start([done("a"), FAIL], on_failure="undo")
    assert (fresh(run).status, fresh(run).step) == ("failed", "broken")
    run = start([done("a"), done("b"), FAIL])
    undo_run(run)
    assert (fresh(run).status, fresh(run).step, notes()[-1]) == ("failed", "broken", "id-a by a:undo")


def test_a_run_whose_undo_failed_says_where_it_failed(take_back: set[str]) -> None:
    take_back.add("id-a")
    run = start([done("a"), FAIL], on_failure="undo")
    assert (fresh(run).status, fresh(run).step, fresh(run).error) == ("failed", "broken", "too late")
    skip_step(run, "a:undo")
    assert (fresh(run).status, fresh(run).step) == ("failed", "broken")


def test_a_run_out_of_time_that_was_undone_says_which_step_it_was_at() -> None:
    nap = {"name": "nap", "type": "flow.sleep", "with": {"for": "2d"}}
    run = start([done("a"), nap], on_failure="undo", timeout="1d")
    Run.objects.filter(pk=run.pk).update(deadline=database_now("default"))
    end_overdue("default", database_now("default"))
    work("default")
    assert (fresh(run).status, fresh(run).step) == ("failed", "nap")
