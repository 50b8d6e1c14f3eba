"""``for_each``: items that end, wait or go on when another has failed for the whole step already."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_workflow import Sleep, StepContext, WaitForEvent, define
from django_workflow.engine.execute import work
from django_workflow.engine.recover import recover_worker
from django_workflow.models import Run, StepRun
from tests.support.one_by_one import claim_all, execute_alone, execute_next, ready_run
from tests.support.runs import demand_whole, fresh, history, notes
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def items(register: Callable[..., Any]) -> None:
    """Register a step type whose items do what they are."""
    failed: list[Any] = []

    @register("tests.item")
    def item(context: StepContext, value: str) -> Any:
        Note.objects.create(text=f"{value} {context.event.name if context.event else ''}".strip())
        match value:
            case "fail":
                raise ValueError("for all")
            case "again" if not failed:
                failed.append(value)
                raise ConnectionError("once more")
            case "event" if context.event is None:
                return WaitForEvent("go")
            case "sleep" if context.event is None:
                return Sleep(timedelta(hours=1))
        return value


def over(values: list[str], on_failure: str | None = None, **fields: Any) -> Run:
    """Return a run whose items are ready."""
    each = {"name": "each", "type": "tests.item", "for_each": "values", "with": {"value": "{{ item }}"}}
    retry = {"retry": {"attempts": 2, "delay": 0, "errors": ["ConnectionError"]}}
    rescue = {"name": "rescue", "type": "tests.note", "needs": "jump"}
    run = ready_run([{**each, **retry, **fields}, rescue], {"values": values}, on_failure=on_failure)
    execute_next(run)
    return run


@pytest.mark.parametrize("what", ["event", "sleep", "again"])
@pytest.mark.parametrize("on_error", ["fail", "rescue"])
def test_item_that_would_go_on_ends_when_another_has_failed_for_all(items, what: str, on_error: str) -> None:
    run = over(["fail", what], on_error=on_error)
    claims = claim_all(run)
    execute_alone(claims["each[0]"])
    execute_alone(claims["each[1]"])
    work("default")
    demand_whole(run)
    assert fresh(run).status == ("failed" if on_error == "fail" else "done")
    assert notes() == ["fail", what, *(["rescue"] if on_error == "rescue" else [])]


def test_step_whose_item_failed_is_not_closed_twice_by_one_that_was_given_back(items) -> None:
    run = over(["fail", "given back", "last"], on_error="rescue")
    claims = claim_all(run)
    execute_alone(claims["each[0]"])
    StepRun.objects.filter(pk=claims["each[1]"].step_run.pk).update(worker="dead")
    recover_worker("default", "dead")
    execute_alone(claims["each[2]"])
    work("default")
    demand_whole(run)
    assert (fresh(run).status, notes()) == ("done", ["fail", "last", "rescue"])
    assert history(run)[:4] == ["each:failed", "each[0]:failed", "each[1]:cancelled", "each[2]:done"]


def test_item_calls_nobody_when_another_has_failed_for_all() -> None:
    define("child", steps=[{"name": "wait", "type": "flow.wait", "with": {"event": "go"}}])
    call = {"name": "call", "type": "flow.call", "for_each": "values", "with": {"workflow": "{{ item }}"}}
    run = ready_run([{**call, "on_error": "fail"}], {"values": ["nothing", "child"]})
    execute_next(run)
    claims = claim_all(run)
    execute_alone(claims["call[0]"])
    execute_alone(claims["call[1]"])
    demand_whole(run)
    assert fresh(run).status == "failed"
    assert not Run.objects.filter(workflow__name="child").active().exists()


def test_item_that_ends_last_in_a_failed_step_is_undone(items) -> None:
    run = over(["fail", "well"], on_failure="undo", undo={"type": "tests.note"})
    claims = claim_all(run)
    execute_alone(claims["each[0]"])
    execute_alone(claims["each[1]"])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["fail", "well", "each:undo"])
