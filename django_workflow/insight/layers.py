"""Where the steps of a graph stand when it is drawn, from left to right.

The layered drawing of Sugiyama, Tagawa and Toda (1981): columns by the longest path, then rows with few
crossings. A need that spans several columns gets a cell in each of them, so that it runs through no step;
needs that part from one step, or meet in one, share these cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

from ..definition.graph import Graph
from .rows import Net, arrange_rows

# Beyond so many cells of long needs these go straight: nobody could follow them anyway.
MOST_BENDS = 50_000

Jumps = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A place in the drawing."""

    column: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A need or a jump. ``way``: the cells of both ends, and between them those where a long need bends."""

    source: str
    target: str
    kind: Literal["need", "jump"]
    way: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Every step with its cell, in list order, and the edges between them.

    ``main_rows``: so many rows belong to the main line; below are the steps that only a jump starts.
    """

    cells: Mapping[str, Cell]
    edges: tuple[Edge, ...]
    main_rows: int


def arrange(graph: Graph, jumps: Jumps) -> Arrangement:
    """Return where each step stands; ``jumps`` has the steps that each may jump to.

    Every need goes to the right, but those on a cycle. Names that no step has are passed over.
    """
    columns = _find_columns(graph, _find_leads(graph, jumps))
    net = Net()
    for name in graph.steps:
        net.add(columns[name], is_below=name in graph.jump_only)
    ways = _lay_ways(graph, columns, net)
    for left, right in chain.from_iterable(map(pairwise, ways.values())):
        net.join(left, right)
    rows, main_rows = arrange_rows(net)
    cells = [Cell(column=column, row=row) for column, row in zip(net.columns, rows, strict=True)]
    needs = (
        Edge(source=source, target=target, kind="need", way=tuple(cells[each] for each in way))
        for (source, target), way in ways.items()
    )
    of_step = dict(zip(graph.steps, cells, strict=False))
    jumped = (
        Edge(source=source, target=target, kind="jump", way=(of_step[source], of_step[target]))
        for source, target in _read_jumps(graph, jumps)
    )
    return Arrangement(cells=of_step, edges=(*needs, *jumped), main_rows=main_rows)


def _read_jumps(graph: Graph, jumps: Jumps) -> Iterable[tuple[str, str]]:
    for source in graph.steps:
        targets = dict.fromkeys(jumps.get(source, ()))
        yield from ((source, target) for target in targets if target in graph.steps)


def _find_leads(graph: Graph, jumps: Jumps) -> dict[str, str]:
    """Return, for steps that only a jump starts, what they stand right of: the leftmost that jumps there."""
    columns = _find_columns(graph, {})
    leads: dict[str, str] = {}

    def rank(name: str) -> tuple[bool, int, int]:
        return name in graph.jump_only, columns[name], graph.position[name]

    for source, target in _read_jumps(graph, jumps):
        if target in graph.jump_only and not graph.needs[target] and source != target:
            leads[target] = min(leads.get(target, source), source, key=rank)
    return leads


def _find_columns(graph: Graph, leads: Mapping[str, str]) -> dict[str, int]:
    """Return the column of each step: one more than those of its needs and of its lead.

    Where needs and leads make a circle, a lead is passed over, and a need where there is no other way.
    """
    before = {
        name: {*needed, leads[name]} if name in leads else set(needed) for name, needed in graph.needs.items()
    }
    after: dict[str, list[str]] = {name: [] for name in before}
    for name, earlier in before.items():
        for each in earlier:
            after[each].append(name)
    missing = {name: len(earlier) for name, earlier in before.items()}
    ready = [name for name, count in missing.items() if not count]
    at_last = chain(sorted(leads, key=graph.position.__getitem__), graph.steps)
    columns: dict[str, int] = {}
    while len(columns) < len(before):
        name = ready.pop() if ready else next(name for name in at_last if name not in columns)
        if name in columns:
            continue
        columns[name] = 1 + max((columns[each] for each in before[name] if each in columns), default=-1)
        for each in after[name]:
            missing[each] -= 1
            if not missing[each]:
                ready.append(each)
    return columns


def _lay_ways(graph: Graph, columns: Mapping[str, int], net: Net) -> dict[tuple[str, str], list[int]]:
    """Add the cells of long needs to the net, and return each need as the numbers of its cells."""
    needs = [(need, name) for name, needed in graph.needs.items() for need in dict.fromkeys(needed)]
    between = {need: range(columns[need[0]] + 1, columns[need[1]]) for need in needs}
    if sum(map(len, between.values())) > MOST_BENDS:
        between = dict.fromkeys(needs, range(0))
    leaving = Counter(source for (source, _target), passed in between.items() if passed)
    coming = Counter(target for (_source, target), passed in between.items() if passed)
    bends: dict[tuple[str, bool, bool, int], int] = {}
    ways: dict[tuple[str, str], list[int]] = {}
    for (source, target), passed in between.items():
        is_below = source in graph.jump_only
        is_leaving = leaving[source] >= coming[target]
        keys = [(source if is_leaving else target, is_leaving, is_below, column) for column in passed]
        for key in keys:
            if key not in bends:
                bends[key] = net.add(key[-1], is_below=is_below)
        ways[source, target] = [graph.position[source], *map(bends.__getitem__, keys), graph.position[target]]
    return ways
