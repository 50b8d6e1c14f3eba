"""Which row each node of a layered drawing has: few crossings, straight lines, the longest way on top."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SWEEPS = 4
# Beyond so many lines between neighbours there is no order that pleases.
MOST_JOINED = 20_000

# The nodes of one band by column, each column from the top down.
Band = Sequence[list[int]]
Neighbours = Sequence[Mapping[int, None]]


@dataclass(frozen=True, slots=True)
class Net:
    """The nodes of a drawing as numbers, each with its column and its neighbours to the left and right.

    The nodes that are below have rows of their own; neighbours are on the same side.
    """

    columns: list[int] = field(default_factory=list)
    is_below: list[bool] = field(default_factory=list)
    left: list[dict[int, None]] = field(default_factory=list)
    right: list[dict[int, None]] = field(default_factory=list)

    def add(self, column: int, *, is_below: bool) -> int:
        """Add a node and return its number."""
        self.columns.append(column)
        self.is_below.append(is_below)
        self.left.append({})
        self.right.append({})
        return len(self.columns) - 1

    def join(self, left: int, right: int) -> None:
        """Make two nodes neighbours, where the one is left of the other and both are on one side."""
        if self.columns[left] < self.columns[right] and self.is_below[left] == self.is_below[right]:
            self.right[left][right] = None
            self.left[right][left] = None


def arrange_rows(net: Net) -> tuple[list[int], int]:
    """Return the row of each node, and how many rows are above those of the nodes that are below."""
    heights = _measure(net)
    rows = [0] * len(net.columns)
    counts: list[int] = []
    for is_below in (False, True):
        band = _order(net, [node for node, below in enumerate(net.is_below) if below == is_below], heights)
        placed = _straighten(net, band)
        # Rows that stayed empty fall out.
        numbers = {row: sum(counts) + number for number, row in enumerate(sorted(set(placed.values())))}
        for node, row in placed.items():
            rows[node] = numbers[row]
        counts.append(len(numbers))
    return rows, counts[0]


def _measure(net: Net) -> list[int]:
    """Return how many nodes come after each at the most."""
    heights = [0] * len(net.columns)
    for node in sorted(range(len(heights)), key=net.columns.__getitem__, reverse=True):
        heights[node] = max((heights[each] + 1 for each in net.right[node]), default=0)
    return heights


def _order(net: Net, nodes: Iterable[int], heights: Sequence[int]) -> Band:
    """Return the nodes by column, in the best of a few orders that the barycentre heuristic finds."""
    band: list[list[int]] = [[] for _column in range(max(net.columns, default=-1) + 1)]
    for node in nodes:
        band[net.columns[node]].append(node)
    places = {node: place for column in band for place, node in enumerate(column)}

    def sweep(columns: Iterable[list[int]], neighbours: Neighbours) -> None:
        for column in columns:
            _sort(column, places, neighbours, heights)

    sweep(band, net.left)
    if sum(map(len, net.right)) > MOST_JOINED:
        return band
    best, fewest = [list(column) for column in band], _count_crossings(band, places, net.right)
    for _sweep in range(SWEEPS):
        if not fewest:
            break
        sweep(reversed(band), net.right)
        sweep(band, net.left)
        crossings = _count_crossings(band, places, net.right)
        if crossings < fewest:
            best, fewest = [list(column) for column in band], crossings
    return best


def _sort(column: list[int], places: dict[int, int], neighbours: Neighbours, heights: Sequence[int]) -> None:
    """Sort a column by the middle of each node's neighbours; then by how much comes after; then as listed."""

    def rank(node: int) -> tuple[float, int, int]:
        near = neighbours[node]
        middle = sum(map(places.__getitem__, near)) / len(near) if near else places[node]
        return middle, -heights[node], node

    column.sort(key=rank)
    places.update((node, place) for place, node in enumerate(column))


def _count_crossings(band: Band, places: Mapping[int, int], right: Neighbours) -> int:
    crossings = 0
    for column in band:
        ends: list[int] = []
        for node in column:
            targets = [places[each] for each in right[node]]
            crossings += sum(len(ends) - bisect(ends, each) for each in targets)
            for each in targets:
                insort(ends, each)
    return crossings


def _straighten(net: Net, band: Band) -> dict[int, int]:
    """Return rows in which each node goes on with the topmost line that it has, as far as there is room."""
    rows: dict[int, int] = {}
    for column in band:
        above = -1
        for node in column:
            above = max([above + 1, min((rows[each] for each in net.left[node]), default=0)])
            rows[node] = above
    for column in reversed(band):
        below = len(net.columns)
        for node in reversed(column):
            wanted = min((rows[each] for each in net.right[node]), default=0)
            below = rows[node] = min(below - 1, max(rows[node], wanted))
    return rows
