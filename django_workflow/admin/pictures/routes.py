"""The lines of a graph: needs as curves between columns, jumps along the gaps between columns and rows."""

from __future__ import annotations

from collections.abc import Sequence

from ...insight.layers import Cell
from .places import COLUMN_GAP, CRISP, LINE_GAP, WIDE, Grid
from .svg import Point, path

RADIUS = 8
# How far from a box's edge a jump runs along it, and from another jump.
OFF, APART = 7 + CRISP, 4
# Jumps leave right of a box's middle and come in left of it.
ASIDE = 18
# How far left of a box the first jump comes down.
ASTRIDE = COLUMN_GAP / 2 + 1.5 * APART - CRISP
HEAD = 6


def draw_need(grid: Grid, left: Cell, right: Cell, *, bends: bool) -> str:
    """Return one piece of a need, from a cell to one in the next column; ``bends``: the second is no step."""
    start = grid.right(left), grid.middle(left)
    end = grid.left(right) - (0 if bends else HEAD), grid.middle(right)
    if grid.line(left) != grid.line(right):
        return _wrap(grid, grid.line(left), start, end) + _pass(end, bends=bends)
    half = (end[0] - start[0]) / 2
    if start[1] == end[1]:
        curve = path("M", *start, "H", end[0])
    else:
        curve = path("M", *start, "C", start[0] + half, start[1], end[0] - half, end[1], *end)
    return curve + _pass(end, bends=bends)


def _pass(point: Point, *, bends: bool) -> str:
    return f" {path('H', point[0] + WIDE)}" if bends else ""


def _wrap(grid: Grid, line: int, start: Point, end: Point) -> str:
    """Return the way from the end of a line to the beginning of the next."""
    out, back = start[0] + COLUMN_GAP / 2 + CRISP, CRISP - COLUMN_GAP / 2
    between = grid.end(line) + LINE_GAP / 2 + CRISP
    return round_off([start, (out, start[1]), (out, between), (back, between), (back, end[1]), end])


def find_jump(grid: Grid, source: Cell, target: Cell, *, number: int) -> list[Point]:
    """Return the corners of a jump; those with another ``number`` run beside it."""
    apart = number % 4 * APART
    start = grid.left(source) + WIDE / 2 + ASIDE + CRISP
    is_flat = (grid.line(source), source.row) == (grid.line(target), target.row)
    goes_up = target.column <= source.column if is_flat else grid.top(target) < grid.top(source)
    edge = grid.top(source) if goes_up else grid.bottom(source)
    beside = edge - OFF - apart if goes_up else edge + OFF + apart
    if is_flat:
        end = grid.left(target) + WIDE / 2 - ASIDE + CRISP
        return [(start, edge), (start, beside), (end, beside), (end, edge)]
    left, middle = grid.left(target), grid.middle(target)
    gap = left - ASTRIDE + apart
    last = [(gap, middle), (left, middle)]
    if grid.line(source) == grid.line(target) or not left:
        return [(start, edge), (start, beside), (gap, beside), *last]
    above = grid.top(target) - OFF - apart
    outside = apart - ASTRIDE
    return [(start, edge), (start, beside), (outside, beside), (outside, above), (gap, above), *last]


def round_off(corners: Sequence[Point]) -> str:
    """Return the path along ``corners``, each of them rounded."""
    parts: list[str | float] = ["M", *corners[0]]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        parts += ["L", *_towards(corner, before), "Q", *corner, *_towards(corner, after)]
    return path(*parts, "L", *corners[-1])


def _towards(corner: Point, other: Point) -> Point:
    """Return the point at which the rounding of ``corner`` begins on the side of ``other``."""
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    share = min(RADIUS, length / 2) / length if length else 0.0
    return corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share


def shorten(before: Point, tip: Point, by: float = HEAD) -> Point:
    """Return the point so far before ``tip`` on the straight line from ``before``."""
    length = abs(tip[0] - before[0]) + abs(tip[1] - before[1]) or 1.0
    return tip[0] - (tip[0] - before[0]) / length * by, tip[1] - (tip[1] - before[1]) / length * by


def draw_head(before: Point, tip: Point) -> str:
    """Return the head of an arrow that comes along a straight line from ``before``."""
    back = shorten(before, tip)
    half = (tip[1] - back[1]) * 0.6, (tip[0] - back[0]) * 0.6
    one, other = (back[0] - half[0], back[1] - half[1]), (back[0] + half[0], back[1] + half[1])
    return path("M", *tip, "L", *one, *other, "Z")
