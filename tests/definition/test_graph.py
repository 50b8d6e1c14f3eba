"""The order of steps: what is needed, what comes after, and what only a jump starts."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec

Needs = tuple[str, ...] | Literal["jump"] | None

names = [f"s{number}" for number in range(7)]
needs = st.none() | st.just("jump") | st.lists(st.sampled_from([*names, "unknown"]), max_size=3).map(tuple)


def graph_of(**needs_by_name: Needs) -> Graph:
    return Graph(StepSpec(name=name, type="x.y", needs=each) for name, each in needs_by_name.items())


def naive_after(graph: Graph, name: str) -> set[str]:
    found: set[str] = set()
    while True:
        more = {each for each, needed in graph.needs.items() if {name, *found} & set(needed)}
        if more <= found:
            return found
        found |= more


@given(st.lists(needs, max_size=len(names)))
def test_after_is_the_closure_of_needs(listed: list[Needs]) -> None:
    graph = graph_of(**dict(zip(names, listed, strict=False)))

    for name in graph.steps:
        assert graph.after(name) == naive_after(graph, name)
        assert graph.region(name) == naive_after(graph, name) | {name}


@given(st.lists(needs, max_size=len(names)))
def test_before_is_the_other_side_of_after(listed: list[Needs]) -> None:
    graph = graph_of(**dict(zip(names, listed, strict=False)))

    for name in graph.steps:
        assert graph.before(name) == {other for other in graph.steps if name in graph.after(other)}


@given(st.lists(needs, max_size=len(names)))
def test_steps_in_order_come_after_what_they_need(listed: list[Needs]) -> None:
    graph = graph_of(**dict(zip(names, listed, strict=False)))
    on_a_cycle = {name for name in graph.steps if name in graph.after(name)}

    position = {name: index for index, name in enumerate(graph.in_order)}
    assert all(position[need] < position[name] for name in position for need in graph.needs[name])
    assert set(graph.on_cycle) == on_a_cycle | {each for name in on_a_cycle for each in graph.after(name)}
    assert set(graph.on_cycle) | set(graph.in_order) == set(graph.steps)


TABLE: dict[str, tuple[Graph, dict[str, tuple[str, ...]], tuple[str, ...], set[str]]] = {
    "a list": (graph_of(a=None, b=None, c=None), {"a": (), "b": ("a",), "c": ("b",)}, ("a",), set()),
    "a fork": (graph_of(a=None, b=("a",), c=("a",)), {"a": (), "b": ("a",), "c": ("a",)}, ("a",), set()),
    "two starts": (
        graph_of(a=None, b=(), c=("a", "b")),
        {"a": (), "b": (), "c": ("a", "b")},
        ("a", "b"),
        set(),
    ),
    "a jump path goes on": (
        graph_of(a=None, b="jump", c=None),
        {"a": (), "b": (), "c": ("b",)},
        ("a",),
        {"b", "c"},
    ),
    "a jump path first": (graph_of(a="jump", b=()), {"a": (), "b": ()}, ("b",), {"a"}),
    "needs of both lines": (
        graph_of(a=None, b="jump", c=("a", "b")),
        {"a": (), "b": (), "c": ("a", "b")},
        ("a",),
        {"b"},
    ),
    "unknown needs are left out": (graph_of(a=None, b=("a", "zz")), {"a": (), "b": ("a",)}, ("a",), set()),
}


@pytest.mark.parametrize(("graph", "needs", "starts", "jump_only"), TABLE.values(), ids=TABLE)
def test_needs_starts_and_jump_paths(
    graph: Graph, needs: dict[str, tuple[str, ...]], starts: tuple[str, ...], jump_only: set[str]
) -> None:
    assert graph.needs == needs
    assert graph.starts == starts
    assert graph.jump_only == jump_only


def test_path_of_a_jump_step_holds_only_jump_steps() -> None:
    graph = graph_of(a=None, b="jump", c=("b",), d=("a", "c"))

    assert graph.ancestors_on_path == {"b": frozenset({"b"}), "c": frozenset({"b", "c"})}
