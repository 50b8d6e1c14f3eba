"""Where the steps of a graph stand when it is drawn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec
from django_workflow.insight.layers import Arrangement, arrange

Needs = tuple[str, ...] | Literal["jump"] | None
Jumps = dict[str, list[str]]

JUMP: Literal["jump"] = "jump"

names = [f"s{number}" for number in range(9)]
some_names = st.lists(st.sampled_from([*names, "unknown"]), max_size=3)
needs: st.SearchStrategy[Needs] = st.one_of(st.none(), st.just("jump"), some_names.map(tuple))
graphs = st.lists(needs, max_size=len(names)).map(
    lambda listed: graph_of(**dict(zip(names, listed, strict=False)))
)
jumps = st.dictionaries(st.sampled_from(names), some_names)


def graph_of(**needs_by_name: Needs) -> Graph:
    return Graph(StepSpec(name=name, type="x.y", needs=each) for name, each in needs_by_name.items())


def cells_of(arrangement: Arrangement) -> dict[str, tuple[int, int]]:
    return {name: (cell.column, cell.row) for name, cell in arrangement.cells.items()}


def way_of(arrangement: Arrangement, source: str, target: str) -> list[tuple[int, int]]:
    (edge,) = [edge for edge in arrangement.edges if (edge.source, edge.target) == (source, target)]
    return [(cell.column, cell.row) for cell in edge.way]


@given(graphs, jumps)
def test_every_step_has_a_cell_of_its_own(graph: Graph, given_jumps: Jumps) -> None:
    arrangement = arrange(graph, given_jumps)

    assert list(arrangement.cells) == list(graph.steps)
    assert len(set(arrangement.cells.values())) == len(graph.steps)


@given(graphs, jumps)
def test_every_need_goes_to_the_right(graph: Graph, given_jumps: Jumps) -> None:
    cells = arrange(graph, given_jumps).cells

    for name in graph.in_order:
        assert all(cells[need].column < cells[name].column for need in graph.needs[name])


@given(graphs, jumps)
def test_every_need_and_every_jump_is_drawn_once(graph: Graph, given_jumps: Jumps) -> None:
    edges = [(edge.source, edge.target, edge.kind) for edge in arrange(graph, given_jumps).edges]

    drawn = {(need, name, "need") for name, needed in graph.needs.items() for need in needed}
    known = {(name, target, "jump") for name in graph.steps for target in given_jumps.get(name, ())}
    assert set(edges) == drawn | {each for each in known if each[1] in graph.steps}
    assert len(set(edges)) == len(edges)


@given(graphs, jumps)
def test_a_need_runs_through_no_other_step(graph: Graph, given_jumps: Jumps) -> None:
    arrangement = arrange(graph, given_jumps)
    taken = set(arrangement.cells.values())

    for edge in arrangement.edges:
        assert (edge.way[0], edge.way[-1]) == (arrangement.cells[edge.source], arrangement.cells[edge.target])
        assert not taken & set(edge.way[1:-1])
        if edge.kind == "need" and edge.way[0].column < edge.way[-1].column:
            assert all(right.column - left.column == 1 for left, right in pairwise(edge.way))


@given(graphs, jumps)
def test_what_only_a_jump_starts_is_below(graph: Graph, given_jumps: Jumps) -> None:
    arrangement = arrange(graph, given_jumps)

    for name, cell in arrangement.cells.items():
        assert (cell.row >= arrangement.main_rows) == (name in graph.jump_only)


@given(graphs, jumps)
def test_no_row_is_empty(graph: Graph, given_jumps: Jumps) -> None:
    rows = {cell.row for edge in arrange(graph, given_jumps).edges for cell in edge.way}
    rows |= {cell.row for cell in arrange(graph, given_jumps).cells.values()}

    assert rows == set(range(len(rows)))


@given(graphs, jumps)
def test_the_same_graph_always_looks_the_same(graph: Graph, given_jumps: Jumps) -> None:
    again = Graph(graph.steps.values())

    assert arrange(graph, given_jumps) == arrange(again, dict(given_jumps))


@given(graphs)
def test_a_path_begins_right_of_the_step_that_jumps_there(graph: Graph) -> None:
    mains = [name for name in graph.steps if name not in graph.jump_only]
    roots = [name for name in graph.jump_only if not graph.needs[name]]
    # Only from steps that need no such path: the others cannot always be left of it.
    free = [name for name in mains if not graph.before(name) & graph.jump_only and name in graph.in_order]
    cells = arrange(graph, dict.fromkeys(free, roots)).cells

    if free:
        leftmost = min(cells[name].column for name in free)
        assert all(cells[root].column > leftmost for root in roots)


DIAMOND = graph_of(a=None, b=("a",), c=("a",), d=("b", "c"))
ORDER = graph_of(
    charge=None, approve=None, gift=("approve",), reserve=("approve",), watchers=("approve",),
    restock=("reserve",), ship=("gift", "reserve"), tell=("ship", "watchers"),
    refuse="jump", regret=None,
)  # fmt: skip
TABLE: dict[str, tuple[Graph, Jumps, dict[str, tuple[int, int]]]] = {
    "a list": (graph_of(a=None, b=None, c=None), {}, {"a": (0, 0), "b": (1, 0), "c": (2, 0)}),
    "nothing": (graph_of(), {}, {}),
    "a diamond": (DIAMOND, {}, {"a": (0, 0), "b": (1, 0), "c": (1, 1), "d": (2, 0)}),
    "the longest way on top": (
        graph_of(a=None, b=("a",), c=("a",), d=("c",)),
        {},
        {"a": (0, 0), "c": (1, 0), "b": (1, 1), "d": (2, 0)},
    ),
    "the order of the list, not crossing": (
        graph_of(a=(), b=(), c=("b",), d=("a",)),
        {},
        {"a": (0, 0), "b": (0, 1), "d": (1, 0), "c": (1, 1)},
    ),
    "a branch stays on its line": (
        graph_of(a=None, b=("a",), c=("a",), d=("b",), e=("b",), f=("c",)),
        {},
        {"a": (0, 0), "b": (1, 0), "c": (1, 2), "d": (2, 0), "e": (2, 1), "f": (2, 2)},
    ),
    "an error path": (
        ORDER,
        {"charge": ["refuse"], "approve": ["refuse"]},
        {
            "charge": (0, 0), "approve": (1, 0), "gift": (2, 0), "reserve": (2, 1), "watchers": (2, 2),
            "ship": (3, 0), "restock": (3, 1), "tell": (4, 0), "refuse": (1, 3), "regret": (2, 3),
        },
    ),
    "a chain of paths": (
        graph_of(a=None, b=None, c="jump", d="jump"),
        {"b": ["c"], "c": ["d"], "d": ["c"]},
        {"a": (0, 0), "b": (1, 0), "c": (2, 1), "d": (3, 1)},
    ),
    "paths that lead to each other": (
        graph_of(a=None, b="jump", c="jump"),
        {"b": ["c"], "c": ["b"]},
        {"a": (0, 0), "b": (0, 1), "c": (1, 1)},
    ),
    "a path back to the main line": (
        graph_of(a=None, b="jump", c=("a", "b")),
        {"a": ["b"]},
        {"a": (0, 0), "b": (1, 1), "c": (2, 0)},
    ),
    "a cycle": (graph_of(a=("c",), b=("a",), c=("b",)), {}, {"a": (0, 0), "b": (1, 0), "c": (2, 0)}),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "given_jumps", "expected"), TABLE.values(), ids=TABLE)
def test_steps_stand_where_one_looks_for_them(
    graph: Graph, given_jumps: Jumps, expected: Mapping[str, tuple[int, int]]
) -> None:
    assert cells_of(arrange(graph, given_jumps)) == expected


def test_a_long_need_goes_round_what_is_between() -> None:
    arrangement = arrange(graph_of(a=None, b=None, c=None, d=("c", "a")), {})

    assert way_of(arrangement, "a", "d") == [(0, 0), (1, 1), (2, 1), (3, 0)]


def test_long_needs_of_one_step_share_their_way() -> None:
    graph = graph_of(a=None, b=None, c=None, d=("c", "a"), e=("d", "a"))
    arrangement = arrange(graph, {})

    assert way_of(arrangement, "a", "e")[:3] == way_of(arrangement, "a", "d")[:3]
    assert {cell.row for edge in arrangement.edges for cell in edge.way} == {0, 1}


def test_long_needs_that_meet_share_their_way() -> None:
    graph = graph_of(a=None, b=None, c=None, d=None, e=("d", "a", "b", "c"))
    arrangement = arrange(graph, {})

    assert way_of(arrangement, "b", "e")[1:] == way_of(arrangement, "a", "e")[2:]


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(**{f"s{number}": None for number in range(1000)}),
        graph_of(**{f"s{number}": () for number in range(1000)}),
        graph_of(
            **{
                f"s{number}": tuple(f"s{near}" for near in range(max(number - 5, 0), number))
                for number in range(1000)
            }
        ),
        graph_of(s0=None, **{f"s{number}": (f"s{number - 1}", "s0") for number in range(1, 1000)}),
        graph_of(**{f"s{number}": (f"s{(number + 1) % 1000}",) for number in range(1000)}),
        graph_of(**dict.fromkeys((f"s{number}" for number in range(1000)), JUMP)),
    ],
    ids=["a list", "all at once", "a braid", "all need the first", "a cycle", "jumps only"],
)
def test_a_thousand_steps_take_a_moment(graph: Graph) -> None:
    jumps = {one: [other] for one, other in pairwise(graph.steps)}
    start = time.process_time()
    arrange(graph, jumps)

    assert time.process_time() - start < 10


def test_a_graph_full_of_needs_is_no_trouble() -> None:
    full: dict[str, list[str]] = {f"s{number}": [] for number in range(300)}
    for one, other in combinations(full, 2):
        full[other].append(one)

    arrangement = arrange(graph_of(**{name: tuple(needed) for name, needed in full.items()}), {})

    assert [cell.column for cell in arrangement.cells.values()] == list(range(300))
