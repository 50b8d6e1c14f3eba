"""Which calls every run makes, and the way back from a workflow to itself."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.context import StepContext
from django_workflow.definition.reading import read_definition
from django_workflow.definition.recursion import certain_calls, find_cycle
from django_workflow.definition.returns import always_ends, always_leaves, may_leave, read_returns
from django_workflow.outcomes import End, Goto, Sleep
from django_workflow.registry import Handler, get_handler


def plain() -> dict[str, int]:
    return {}


def sleeping() -> Annotated[Sleep | None, "perhaps"]:
    return None


def jumping() -> Goto | None:
    return None


def ending() -> Annotated[End, "always"]:
    return End()


def leaving(context: StepContext) -> End | Goto:
    return End()


async def ending_later() -> End:
    return End()


def failing() -> NoReturn:
    raise RuntimeError


def anything() -> Any:
    return None


def an_object() -> object:
    return None


def silent():  # type: ignore[no-untyped-def]
    return None


def unreadable() -> NoSuchClass:  # type: ignore[name-defined]  # noqa: F821
    return None


OWN = {f.__name__: Handler(type=f"app.{f.__name__}", function=f) for f in (plain, jumping, ending, silent)}


def get(type: str) -> Handler | None:
    return OWN.get(type.removeprefix("app.")) or get_handler(type)


@pytest.mark.parametrize(
    ("function", "leaves_always", "ends_always", "leaves_perhaps"),
    [
        (plain, False, False, False),
        (sleeping, False, False, False),
        (jumping, False, False, True),
        (ending, True, True, True),
        (leaving, True, False, True),
        (ending_later, True, True, True),
        (failing, True, False, True),
        (anything, False, False, False),
        (an_object, False, False, False),
        (silent, False, False, False),
        (unreadable, False, False, False),
        (print, False, False, False),
    ],
)
def test_annotation_says_whether_a_handler_leaves(
    function: Any, leaves_always: bool, ends_always: bool, leaves_perhaps: bool
) -> None:
    returns = read_returns(function)

    assert (always_leaves(returns), always_ends(returns), may_leave(returns)) == (
        leaves_always,
        ends_always,
        leaves_perhaps,
    )


def call(workflow: Any = "b", **fields: Any) -> dict[str, Any]:
    params = {"workflow": workflow, **{key: fields.pop(key) for key in ("wait", "key") if key in fields}}
    return {"name": "call", "type": "flow.call", "with": params, **fields}


def step(name: str, type: str = "app.plain", **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": type, **fields}


def calls(*steps: Mapping[str, Any]) -> dict[str, str]:
    spec, problems = read_definition({"name": "a", "steps": list(steps)})
    assert problems == []
    return certain_calls(spec, get)


NOTE = {"type": "flow.set", "with": {"x": 1}}
CERTAIN: dict[str, list[dict[str, Any]]] = {
    "a call alone": [call()],
    "a call that does not wait": [call(wait=False)],
    "after steps that go on": [
        {"name": "note", **NOTE},
        step("own", **{"if": "x"}, on_error="continue"),
        step("nap", "flow.sleep", **{"with": {"for": "1s"}}),
        call(),
    ],
    "before an end": [call(), step("end", "flow.end")],
    "before a step that may jump": [call(), step("own", "app.jumping"), step("last", next="own")],
    "with an error path of its own": [call(on_error="late"), step("late", needs="jump")],
    "after two branches": [
        step("one", needs=[]),
        step("two", needs=[]),
        call(needs=["one", "two"], join="any"),
        step("own", "app.silent", needs=["call", "two"]),
    ],
    "beside a branch that goes on": [step("one", needs=[]), call(needs=[])],
    "with an end on its own path": [call(on_error="out"), step("out", "flow.end", needs="jump")],
}


@pytest.mark.parametrize("steps", CERTAIN.values(), ids=CERTAIN)
def test_call_that_every_run_makes_is_certain(steps: list[dict[str, Any]]) -> None:
    assert calls(*steps) == {"b": "call"}


UNCERTAIN: dict[str, list[dict[str, Any]]] = {
    "no call": [step("own")],
    "under a condition": [call(**{"if": "x"})],
    "of a list": [call(for_each="xs")],
    "with a key": [call(key="daily")],
    "of what an expression names": [call("{{ x }}")],
    "on a jump path": [step("own", on_error="call"), call(needs="jump")],
    "below a step with an error path": [step("own", on_error="out"), call(), step("out", needs="jump")],
    "below a step with an error path of a class": [
        step("own", on_error={"X": "out"}),
        call(),
        step("out", needs="jump"),
    ],
    "below a next": [step("own", next="end", **{"if": "x"}), call()],
    "below a branch": [
        step("pick", "flow.branch", **{"with": {"if": "x", "then": "out"}}),
        call(),
        step("out"),
    ],
    "below a branch to an expression": [
        step("pick", "flow.branch", **{"with": {"if": "x", "then": "{{ y }}"}}),
        call(),
    ],
    "below an end": [step("out", "flow.end", **{"if": "x"}), call()],
    "below a failure": [step("out", "flow.fail", **{"if": "x"}), call()],
    "below an approval": [step("ask", "flow.approval", **{"with": {"group": "g"}}), call()],
    "below a handler that may jump": [step("own", "app.jumping"), call()],
    "below a handler that says nothing": [step("own", "app.silent"), call()],
    "below an unknown type": [step("own", "app.unknown"), call()],
    "beside an end": [step("out", "flow.end", needs=[]), call(needs=[])],
    "beside a step of any": [
        step("other", needs=[]),
        call(needs=[]),
        step("out", "flow.end", needs=["call", "other"], join="any"),
    ],
}


@pytest.mark.parametrize("steps", UNCERTAIN.values(), ids=UNCERTAIN)
def test_call_that_a_run_may_pass_by_is_not_certain(steps: list[dict[str, Any]]) -> None:
    assert calls(*steps) == {}


names = st.sampled_from("abcdef")
graphs = st.dictionaries(names, st.lists(names, max_size=3), max_size=6)


@given(graphs)
def test_cycle_is_found_exactly_where_there_is_one(graph: dict[str, list[str]]) -> None:
    reachable: set[str] = set(graph.get("a", ()))
    for _ in "abcdef":
        reachable |= {called for name in reachable for called in graph.get(name, ())}

    cycle = find_cycle("a", lambda name: graph.get(name, ()))

    assert bool(cycle) is ("a" in reachable)
    assert all(called in graph[name] for name, called in pairwise(cycle))
    assert not cycle or (cycle[0], cycle[-1]) == ("a", "a")
    assert len(set(cycle)) == max(len(cycle) - 1, 0)
