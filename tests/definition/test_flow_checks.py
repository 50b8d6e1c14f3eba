"""What publishing says of undo, of on_failure, and of the params of our own types."""

from __future__ import annotations

from typing import Any

import pytest

from django_workflow.context import StepContext
from django_workflow.definition.program import Program
from django_workflow.definition.reading import read_definition
from django_workflow.definition.spec import Problem
from django_workflow.definition.validate import check_definition
from django_workflow.params import Condition
from django_workflow.registry import Handler, get_handler


def charge(context: StepContext, amount: int = 0) -> dict[str, int]:
    """Never jumps, as it says."""
    return {"amount": amount}


def refund(context: StepContext, charge: Any, reason: str = "", if_: Condition = True) -> None:
    """Undoes."""


OWN = {
    "app.charge": Handler(type="app.charge", function=charge),
    "app.refund": Handler(type="app.refund", function=refund),
}
CHARGE = {"name": "charge", "type": "app.charge"}


def check(*steps: Any, **fields: Any) -> list[Problem]:
    data = {"name": "demo", "steps": list(steps), **fields}
    return check_definition(data, lambda type: OWN.get(type) or get_handler(type))[1]


def undone(type: str = "app.refund", params: Any = None, **fields: Any) -> dict[str, Any]:
    return {**CHARGE, "undo": {"type": type, "with": {"charge": 1} if params is None else params}, **fields}


def flow(type: str, **params: Any) -> dict[str, Any]:
    return {"name": "a", "type": f"flow.{type}", "with": params}


UNDO_ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a text": ({**CHARGE, "undo": "app.refund"}, "undo", "a mapping with type and with"),
    "no type": ({**CHARGE, "undo": {"with": {}}}, "undo", "a mapping with type and with"),
    "a type that is no text": ({**CHARGE, "undo": {"type": 3}}, "undo", "text is needed"),
    "params that are a list": (undone(params=[]), "undo", "a mapping is needed"),
    "an unknown field": ({**CHARGE, "undo": {"type": "app.refund", "if": "x"}}, "undo", "type and with"),
    "an unknown type": (undone("app.refnd"), "undo.type", "unknown step type 'app.refnd'"),
    "an empty type": (undone("", {}), "undo.type", "a type is needed"),
    "a missing param": (undone(params={}), "undo.with.charge", "required"),
    "an unknown param": (undone(params={"charge": 1, "resaon": "x"}), "undo.with.resaon", "'reason'"),
    "an expression that does not parse": (undone(params={"charge": "{{ a b }}"}), "undo.with.charge", "a b"),
    "a condition that does not parse": (
        undone(params={"charge": 1, "if": "a and"}),
        "undo.with.if",
        "a and",
    ),
    "an unknown step": (undone(params={"charge": "{{ steps.chrge }}"}), "undo.with.charge", "'charge'?"),
    "an item without for_each": (undone(params={"charge": "{{ item.id }}"}), "undo.with.charge", "for_each"),
    "a type that jumps": (
        undone("flow.branch", {"if": "True", "then": "charge"}),
        "undo.with.then",
        "cannot jump",
    ),
    "a type that ends the run": (undone("flow.end", {}), "undo.type", "ends a run"),
    "a word as a key of the state": (undone("flow.set", {"steps": 1}), "undo.with.steps", "word"),
    "a call of no slug": (undone("flow.call", {"workflow": "a b"}), "undo.with.workflow", "slug"),
}


@pytest.mark.parametrize(("step", "field", "text"), UNDO_ERRORS.values(), ids=UNDO_ERRORS)
def test_error_of_an_undo_names_step_and_field(step: dict[str, Any], field: str, text: str) -> None:
    (problem,) = check(step)

    assert (problem.step, problem.field, problem.level) == ("charge", field, "error")
    assert text in problem.message


UNDO_FINE: dict[str, dict[str, Any]] = {
    "its own output": undone(params={"charge": "{{ output.id }}", "reason": "{{ run.key }}"}),
    "its own step": undone(params={"charge": "{{ steps.charge.id }}", "if": "steps.charge.id > 1"}),
    "a later step": undone(params={"charge": "{{ steps.later }}"}),
    "an item": undone(params={"charge": "{{ item.id }} {{ index }} {{ output }}"}, for_each="orders"),
    "no params": {**CHARGE, "undo": {"type": "flow.set", "with": None}},
    "a failure that asks for a person": undone("flow.fail", {"message": "refund {{ output.id }} by hand"}),
    "another workflow": undone("flow.call", {"workflow": "refund", "input": {"charge": "{{ output }}"}}),
}


@pytest.mark.parametrize("step", UNDO_FINE.values(), ids=UNDO_FINE)
def test_sound_undo_has_no_problems(step: dict[str, Any]) -> None:
    assert check(step, {"name": "later", "type": "app.charge"}, on_failure="undo") == []


def test_output_is_an_ordinary_key_of_the_state() -> None:
    steps = [flow("set", output=1), {**CHARGE, "if": "output > 1", "with": {"amount": "{{ output }}"}}]

    assert check(*steps, input={"output": "int"}) == []


@pytest.mark.parametrize(
    ("on_failure", "text"),
    [("undo", "no step has an undo"), ({"workflow": "demo"}, "the same workflow")],
)
def test_on_failure_that_helps_nobody_is_a_warning(on_failure: Any, text: str) -> None:
    (problem,) = check(CHARGE, on_failure=on_failure)

    assert (problem.step, problem.field, problem.level) == ("", "on_failure", "warning")
    assert text in problem.message


def test_on_failure_may_name_a_workflow_that_is_not_there_yet() -> None:
    assert check(CHARGE, on_failure={"workflow": "clean-up"}) == []


WHO = "exactly one of permission, group and users"
PARAM_ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "wait for nothing": (flow("wait"), "event", "required"),
    "wait for an empty name": (flow("wait", event=""), "event", "1 to 255"),
    "wait for an empty list": (flow("wait", event=[]), "event", "for ever"),
    "wait for one empty name of two": (flow("wait", event=["paid", ""]), "event", "''"),
    "wait for a long name": (flow("wait", event="x" * 256), "event", "1 to 255"),
    "approval by nobody": (flow("approval"), "users", WHO),
    "approval by null": (flow("approval", group=None), "users", WHO),
    "approval by two": (flow("approval", group="a", users=["b"]), "users", "here are group and users"),
    "approval by an empty group": (flow("approval", group=""), "group", "nobody is named"),
    "approval by no users": (flow("approval", users=[]), "users", "nobody is named"),
    "approval by no permission": (flow("approval", permission="approve"), "permission", "shop.approve_order"),
    "approval by none": (flow("approval", group="a", count=0), "count", "at least one"),
    "approval by none, as text": (flow("approval", group="a", count="0"), "count", "at least one"),
    "approval by some": (flow("approval", group="a", count="some"), "count", "'some'"),
    "approval by more than there are": (flow("approval", users=["a", "b", "a"], count=3), "count", "from 2"),
    "approval with a wrong form": (flow("approval", group="a", form={"why": "txt"}), "form", "why: unknown"),
    "call of no slug": (flow("call", workflow="re stock"), "workflow", "slug"),
    "call of nothing": (flow("call"), "workflow", "required"),
    "call with a list": (flow("call", workflow="b", input=[1]), "input", "mapping"),
    "call with an empty key": (flow("call", workflow="b", key=""), "key", "1 to 255"),
}


@pytest.mark.parametrize(("step", "param", "text"), PARAM_ERRORS.values(), ids=PARAM_ERRORS)
def test_params_that_cannot_work_are_refused(step: dict[str, Any], param: str, text: str) -> None:
    (problem,) = check(step)

    assert (problem.step, problem.field, problem.level) == ("a", f"with.{param}", "error")
    assert text in problem.message


PARAMS_FINE: dict[str, dict[str, Any]] = {
    "wait": {**flow("wait", event="paid"), "timeout": "3d", "on_error": {"WaitTimeout": "continue"}},
    "wait for one of several": flow("wait", event=["paid", "order-{{ order.id }}"], shared=True),
    "wait for what an expression names": flow("wait", event="{{ names }}"),
    "approval by permission": flow("approval", permission="shop.approve_order", message="{{ order.id }}"),
    "approval by users of an expression": flow("approval", users="{{ order.managers }}", count=2),
    "approval by users and an expression": flow("approval", users=["{{ a }}", "{{ b }}"], count=3),
    "approval with a form": flow("approval", group="a", users=None, form={"why": "str", "until": "date"}),
    "approval with a form of an expression": flow("approval", group="a", form="{{ form }}"),
    "call": {**flow("call", workflow="b", input={"x": "{{ x }}"}), "timeout": "2h"},
    "call that does not wait": {
        **flow("call", workflow="b", wait=False, key="{{ k }}"),
        "on_error": "continue",
    },
    "call of what an expression names": flow("call", workflow="{{ name }}-{{ kind }}"),
    "calls of a list": {**flow("call", workflow="b", input={"x": "{{ item }}"}), "for_each": "orders"},
}


@pytest.mark.parametrize("step", PARAMS_FINE.values(), ids=PARAMS_FINE)
def test_sound_params_have_no_problems(step: dict[str, Any]) -> None:
    assert check(step) == []


@pytest.mark.parametrize(
    ("steps", "has_calls"),
    [
        ([CHARGE], False),
        ([CHARGE, flow("call", workflow="b")], True),
        ([undone("flow.call", {"workflow": "b"})], True),
    ],
)
def test_program_knows_whether_it_calls(steps: list[Any], has_calls: bool) -> None:
    spec, _problems = read_definition({"name": "demo", "steps": steps})

    assert Program(spec).has_calls is has_calls
