"""The built-in flow types, each run in a real workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_workflow import define, send_event, trigger
from django_workflow.engine.execute import work
from django_workflow.exceptions import DefinitionError
from django_workflow.models import Run, Workflow
from django_workflow.registry import all_handlers

pytestmark = pytest.mark.django_db(transaction=True)

Steps = Iterable[Mapping[str, Any]]
NOTE = {"type": "flow.set", "with": {"noted": True}}


def run_steps(steps: Steps, values: Mapping[str, Any] | None = None) -> Run:
    define("under-test", steps=steps)
    return trigger("under-test", values)


def list_done(run: Run) -> list[str]:
    return list(run.step_runs.filter(status="done").order_by("number").values_list("step", flat=True))


def find_problems(steps: Steps) -> str:
    with pytest.raises(DefinitionError) as caught:
        define("under-test", steps=steps)
    return str(caught.value)


def test_set_writes_any_keys_to_the_state() -> None:
    run = run_steps([{"type": "flow.set", "with": {"a": "{{ number }}", "b": {"c": [1]}}}], {"number": 7})
    assert run.status == "done"
    assert run.state == {"number": 7, "a": 7, "b": {"c": [1]}}


def test_set_refuses_words_with_a_meaning_of_their_own() -> None:
    assert "'steps' is a word of the expressions" in find_problems(
        [{"type": "flow.set", "with": {"steps": 1}}]
    )


@pytest.mark.parametrize("type", ["flow.branch", "testapp.branch"])
@pytest.mark.parametrize(
    ("total", "targets", "path"),
    [
        (2000, {"then": "large", "else": "small"}, ["ask", "large"]),
        (10, {"then": "large", "else": "small"}, ["ask", "small", "large"]),
        (10, {"then": "large"}, ["ask", "small", "large"]),
        (2000, {"then": "large"}, ["ask", "large"]),
    ],
)
def test_branch_goes_where_the_condition_says(
    type: str, total: int, targets: dict[str, str], path: list[str]
) -> None:
    steps = [
        {"name": "ask", "type": type, "with": {"if": "total > 1000", **targets}},
        {"name": "small", **NOTE},
        {"name": "large", **NOTE},
    ]
    assert list_done(run_steps(steps, {"total": total})) == path


@pytest.mark.parametrize("type", ["flow.branch", "testapp.branch"])
@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"if": "total >", "then": "next"}, "total >"),
        ({"if": "total > 1", "then": "nowhere"}, "nowhere"),
        ({"if": "total > 1"}, "then"),
        ({"if": "total > 1", "then": "next", "otherwise": "next"}, "otherwise"),
        ({"if": "steps.nowhere > 1", "then": "next"}, "nowhere"),
    ],
)
def test_branch_that_cannot_work_is_not_published(type: str, params: dict[str, str], problem: str) -> None:
    steps = [{"name": "ask", "type": type, "with": params}, {"name": "next", **NOTE}]
    assert problem in find_problems(steps)


def test_branch_fails_where_values_cannot_be_compared() -> None:
    steps = [
        {"name": "ask", "type": "flow.branch", "with": {"if": "total > 1000", "then": "next"}},
        {"name": "next", **NOTE},
    ]
    run = run_steps(steps, {"total": "1200.00"})
    assert run.status == "failed"
    assert "'1200.00'" in run.error
    assert "ask" in run.error


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("card", ["ask", "card"]),
        (1, ["ask", "one", "card"]),
        (True, ["ask", "yes", "one", "card"]),
        (None, ["ask", "other", "yes", "one", "card"]),
    ],
)
def test_switch_compares_as_text_and_falls_back(value: Any, path: list[str]) -> None:
    cases = {"card": "card", "1": "one", "true": "yes"}
    steps = [
        {
            "name": "ask",
            "type": "flow.switch",
            "with": {"value": "{{ v }}", "cases": cases, "default": "other"},
        },
        *({"name": name, **NOTE} for name in ("other", "yes", "one", "card")),
    ]
    assert list_done(run_steps(steps, {"v": value})) == path


def test_switch_without_a_match_and_default_goes_on() -> None:
    steps = [
        {"name": "ask", "type": "flow.switch", "with": {"value": "{{ v }}", "cases": {"a": "last"}}},
        {"name": "next", **NOTE},
        {"name": "last", **NOTE},
    ]
    assert list_done(run_steps(steps, {"v": "b"})) == ["ask", "next", "last"]


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"value": 1, "cases": {"a": "nowhere"}}, "nowhere"),
        ({"value": 1, "cases": {}, "default": "nowhere"}, "nowhere"),
        ({"value": 1}, "cases"),
        ({"value": 1, "cases": ["a"]}, "cases"),
    ],
)
def test_switch_that_cannot_work_is_not_published(params: dict[str, Any], problem: str) -> None:
    assert problem in find_problems([{"name": "ask", "type": "flow.switch", "with": params}])


def test_end_makes_the_run_done_with_its_output() -> None:
    end = {"type": "flow.end", "if": "total < 9", "with": {"output": {"total": "{{ total }}"}}}
    run = run_steps([end, NOTE], {"total": 3})
    assert (run.status, run.output) == ("done", {"total": 3})
    assert list_done(run) == ["flow_end"]


def test_fail_makes_the_run_failed_with_its_message() -> None:
    fail = {"type": "flow.fail", "if": "name", "with": {"message": "no stock of {{ name }}"}}
    run = run_steps([fail, NOTE], {"name": "ink"})
    assert (run.status, run.error) == ("failed", "no stock of ink")
    assert list_done(run) == []


def test_fail_is_not_retried() -> None:
    run = run_steps([{"type": "flow.fail", "retry": {"attempts": 5, "delay": 0}}])
    assert run.step_runs.count() == 1


def make_due(run: Run) -> None:
    run.step_runs.filter(status="waiting").update(due_at=timezone.now() - timedelta(seconds=1))


def due_time(run: Run) -> datetime:
    row = run.step_runs.get(status="waiting")
    assert row.waiting_for == "timer"
    assert row.due_at is not None
    return row.due_at


def test_sleep_waits_for_as_long_as_it_says() -> None:
    run = run_steps([{"type": "flow.sleep", "with": {"for": "2h"}}, NOTE])
    assert run.status == "waiting"
    assert abs(due_time(run) - timezone.now() - timedelta(hours=2)) < timedelta(minutes=1)
    make_due(run)
    work("default")
    run.refresh_from_db()
    assert run.status == "done"
    assert list_done(run) == ["flow_sleep", "flow_set"]


def test_sleep_waits_until_a_moment() -> None:
    moment = (timezone.now() + timedelta(days=3)).replace(microsecond=0)
    run = run_steps([{"type": "flow.sleep", "with": {"until": "{{ moment }}"}}], {"moment": moment})
    assert due_time(run) == moment


@pytest.mark.parametrize("params", [{}, {"for": "1s", "until": "2031-01-01T00:00:00Z"}])
def test_sleep_needs_one_of_for_and_until(params: dict[str, str]) -> None:
    run = run_steps([{"type": "flow.sleep", "with": params, "retry": {"attempts": 3, "delay": 0}}])
    assert run.status == "failed"
    assert "either for or until" in run.error
    assert run.step_runs.count() == 1


@pytest.mark.parametrize("params", [{"for": "2 fortnights"}, {"until": "tomorrow"}, {"how_long": "2h"}])
def test_sleep_with_other_params_is_not_published(params: dict[str, str]) -> None:
    assert next(iter(params)) in find_problems([{"type": "flow.sleep", "with": params}])


def wake(run: Run) -> Run:
    work("default")
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("event", ["paid", ["refused", "paid"], "{{ awaited }}"])
def test_wait_gives_the_event_that_came(event: Any) -> None:
    steps = [{"type": "flow.wait", "with": {"event": event}}, NOTE]
    run = run_steps(steps, {"awaited": ["paid"]})
    assert run.status == "waiting"
    assert run.step_runs.get().waiting_for == "event"
    assert send_event(run, "other")
    assert wake(run).status == "waiting"
    assert send_event(run, "paid", {"amount": 7})
    assert wake(run).status == "done"
    assert run.output_of("flow_wait") == {"event": "paid", "payload": {"amount": 7}}


@pytest.mark.parametrize(
    ("shared", "statuses"), [(False, ["done", "waiting"]), (True, ["done", "done"])], ids=["one", "all"]
)
def test_shared_wait_leaves_the_event_to_others(shared: bool, statuses: list[str]) -> None:
    wait = {"type": "flow.wait", "needs": [], "with": {"event": "paid", "shared": shared}}
    run = run_steps([{"name": "one", **wait}, {"name": "two", **wait}])
    send_event(run, "paid")
    wake(run)
    assert sorted(run.step_runs.values_list("status", flat=True)) == statuses


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_wait_for_what_is_no_name_fails_for_good(name: str) -> None:
    wait = {"type": "flow.wait", "with": {"event": "{{ name }}"}, "retry": {"attempts": 3, "delay": 0}}
    run = run_steps([wait], {"name": name})
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.ParamsError")
    assert run.step_runs.count() == 1


def call(workflow: str = "child", **params: Any) -> dict[str, Any]:
    return {"name": "call", "type": "flow.call", "with": {"workflow": workflow, **params}}


def test_call_gives_the_output_of_the_called_run() -> None:
    define("child", steps=[{"type": "flow.end", "with": {"output": {"twice": "{{ number }}{{ number }}"}}}])
    run = run_steps([call(input={"number": "{{ n }}"}), NOTE], {"n": 4})
    assert wake(run).status == "done"
    assert run.output_of("call") == {"twice": "44"}
    assert Run.objects.get(workflow__name="child").parent.run == run


def test_call_that_does_not_wait_gives_the_id() -> None:
    define("child", steps=[{"type": "flow.sleep", "with": {"for": "2h"}}])
    run = run_steps([call(wait=False), NOTE])
    assert wake(run).status == "done"
    child = Run.objects.get(workflow__name="child")
    assert run.output_of("call") == str(child.pk)
    assert child.status == "waiting"


def test_call_fails_with_the_error_of_the_called_run() -> None:
    define("child", steps=[{"type": "flow.fail", "with": {"message": "no stock"}}])
    run = wake(run_steps([call(), NOTE]))
    child = Run.objects.get(workflow__name="child")
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.ChildFailed")
    assert run.error == f"run {child.pk} of child failed: {child.error_type}: no stock"


def test_call_of_a_workflow_that_is_off_fails() -> None:
    define("child", steps=[NOTE])
    Workflow.objects.filter(name="child").update(enabled=False)
    run = wake(run_steps([call()]))
    assert run.status == "failed"
    assert f"run {Run.objects.get(workflow__name='child').pk} of child was cancelled" in run.error


def test_call_of_an_unknown_workflow_fails() -> None:
    run = wake(run_steps([call("nowhere")]))
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.WorkflowNotFound")
    assert "nowhere" in run.error


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([{"type": "flow.wait", "with": {"event": ""}}], "1 to 255"),
        ([call("no slug")], "slug"),
        ([{"type": "flow.approval"}], "exactly one of permission, group and users"),
        ([call("under-test")], "under-test -> under-test"),
    ],
)
def test_wait_approval_or_call_that_cannot_work_is_not_published(steps: Steps, problem: str) -> None:
    assert problem in find_problems(steps)


def test_every_built_in_type_says_what_it_does() -> None:
    built_in = [
        handler for handler in all_handlers() if handler.function.__module__ == "django_workflow.steps"
    ]
    flow = ("set", "branch", "switch", "end", "fail", "sleep", "wait", "approval", "call")
    assert {"mail.send", *(f"flow.{name}" for name in flow)} <= {handler.type for handler in built_in}
    for handler in built_in:
        assert handler.help_text.endswith((".", "it costs nothing."))
        assert handler.params is not None
