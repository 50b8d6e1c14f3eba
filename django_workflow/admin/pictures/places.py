"""Where the cells of an arrangement are on the page: long graphs go on in another line, as text does."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...insight.layers import Arrangement, Cell

WIDE, HIGH = 144, 44
COLUMN_GAP, ROW_GAP, LINE_GAP = 28, 26, 46
# The height of a row that only edges pass through.
LOW = 8
MOST_COLUMNS = 6
# A thin line between two pixels would be a thick grey one.
CRISP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The pixels of cells. ``firsts``: the first column of each line; ``rows``: top and height in a line."""

    firsts: Sequence[int]
    rows: Mapping[tuple[int, int], tuple[float, float]]
    width: float
    height: float

    def line(self, cell: Cell) -> int:
        """Return the number of the line that the cell is on."""
        return bisect(self.firsts, cell.column) - 1

    def left(self, cell: Cell) -> float:
        """Return where the cell begins."""
        return (cell.column - self.firsts[self.line(cell)]) * (WIDE + COLUMN_GAP)

    def right(self, cell: Cell) -> float:
        """Return where the cell ends."""
        return self.left(cell) + WIDE

    def top(self, cell: Cell) -> float:
        """Return the upper edge of the cell."""
        return self.rows[self.line(cell), cell.row][0]

    def bottom(self, cell: Cell) -> float:
        """Return the lower edge of the cell."""
        return sum(self.rows[self.line(cell), cell.row])

    def middle(self, cell: Cell) -> float:
        """Return the height at which needs come in and go out."""
        top, high = self.rows[self.line(cell), cell.row]
        return top + high / 2 + CRISP

    def end(self, line: int) -> float:
        """Return the lower edge of a line."""
        return max(sum(row) for (number, _row), row in self.rows.items() if number == line)


def lay_out(arrangement: Arrangement) -> Grid:
    """Return the places of all cells, those where edges bend included."""
    steps = set(arrangement.cells.values())
    cells = steps.union(*(edge.way for edge in arrangement.edges))
    firsts = _break_lines(arrangement)
    high = {(bisect(firsts, cell.column) - 1, cell.row) for cell in steps}
    rows: dict[tuple[int, int], tuple[float, float]] = {}
    bottom, before = 0.0, None
    for place in sorted({(bisect(firsts, cell.column) - 1, cell.row) for cell in cells}):
        if before is not None:
            bottom += ROW_GAP if before == place[0] else LINE_GAP
        rows[place] = (bottom, HIGH if place in high else LOW)
        bottom, before = sum(rows[place]), place[0]
    columns = max(last - first for first, last in pairwise([*firsts, _count_columns(cells)]))
    return Grid(firsts=firsts, rows=rows, width=columns * (WIDE + COLUMN_GAP) - COLUMN_GAP, height=bottom)


def _count_columns(cells: Iterable[Cell]) -> int:
    return 1 + max(cell.column for cell in cells)


def _break_lines(arrangement: Arrangement) -> list[int]:
    """Return the first column of each line: lines of about one length, cut where few needs are."""
    cut = Counter(
        right.column
        for left, right in {pair for edge in arrangement.edges for pair in pairwise(edge.way)}
        if left.column + 1 == right.column
    )
    left = _count_columns(arrangement.cells.values())
    firsts = [0]
    while left > MOST_COLUMNS:
        best = -(-left // -(-left // MOST_COLUMNS))
        lengths = range(max(best - 1, 2), min(best + 1, MOST_COLUMNS) + 1)
        start = firsts[-1]
        length = min(lengths, key=lambda each: (cut[start + each], abs(each - best)))
        firsts.append(start + length)
        left -= length
    return firsts
