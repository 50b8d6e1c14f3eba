"""The edges of a graph as a few paths: those gone along lie on top of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from django.utils.safestring import SafeString

from ...insight.layers import Arrangement, Cell, Edge
from .places import COLUMN_GAP, Grid
from .routes import HEAD, draw_head, draw_need, find_jump, round_off, shorten
from .svg import Point, element, join


@dataclass(frozen=True, slots=True)
class _Paths:
    """Lines and heads of one kind, each a piece of a path."""

    lines: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


def draw_edges(
    arrangement: Arrangement, grid: Grid, taken: Collection[tuple[str, str]]
) -> tuple[SafeString, list[Point]]:
    """Return all needs and jumps, and the corners of those that may lie outside of the grid.

    ``taken`` has the ends of those that the run has gone along.
    """
    paths = {(kind, is_taken): _Paths() for is_taken in (False, True) for kind in ("need", "jump")}
    needs = [edge for edge in arrangement.edges if _is_straight(edge)]
    others = [edge for edge in arrangement.edges if not _is_straight(edge)]
    _add_needs(arrangement, grid, needs, taken, paths)
    numbers: dict[str, int] = {}
    outside: list[Point] = [(-COLUMN_GAP / 2, 0), (grid.width + COLUMN_GAP / 2, 0)] if grid.firsts[1:] else []
    for edge in others:
        number = numbers.setdefault(edge.target, len(numbers))
        corners = find_jump(grid, edge.way[0], edge.way[-1], number=number)
        kind = paths[edge.kind, (edge.source, edge.target) in taken]
        before, tip = corners[-2:]
        # From the tip back, so that the dashes of jumps that come in together lie on each other.
        kind.lines.append(round_off([*corners[:-1], shorten(before, tip)][::-1]))
        kind.heads.append(draw_head(before, tip))
        outside += corners
    drawn = (_draw(kind, is_taken, each) for (kind, is_taken), each in paths.items() if each.lines)
    return join(drawn), outside


def _is_straight(edge: Edge) -> bool:
    return edge.kind == "need" and all(one.column + 1 == other.column for one, other in pairwise(edge.way))


def _add_needs(
    arrangement: Arrangement,
    grid: Grid,
    needs: Iterable[Edge],
    taken: Collection[tuple[str, str]],
    paths: dict[tuple[str, bool], _Paths],
) -> None:
    """Add each piece once, though several needs share it."""
    pieces: dict[tuple[Cell, Cell], bool] = {}
    for edge in needs:
        for piece in pairwise(edge.way):
            pieces[piece] = pieces.get(piece, False) or (edge.source, edge.target) in taken
    steps = set(arrangement.cells.values())
    entered: dict[Cell, bool] = {}
    for (left, right), is_taken in pieces.items():
        paths["need", is_taken].lines.append(draw_need(grid, left, right, bends=right not in steps))
        if right in steps:
            entered[right] = entered.get(right, False) or is_taken
    for cell, is_taken in entered.items():
        tip = grid.left(cell), grid.middle(cell)
        paths["need", is_taken].heads.append(draw_head((tip[0] - HEAD, tip[1]), tip))


def _draw(kind: str, is_taken: bool, paths: _Paths) -> SafeString:
    drawn = (("workflow-edge", paths.lines), ("workflow-head", paths.heads))
    about = {"data_kind": kind, "data_taken": "" if is_taken else None}
    return join(element("path", class_=name, d=" ".join(parts), **about) for name, parts in drawn)
