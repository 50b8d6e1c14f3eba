"""The graph of a definition or a run: boxes for steps, full lines for needs, dashed ones for jumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...insight.layers import Arrangement
from .edges import draw_edges
from .marks import SIZE, draw_shape
from .places import HIGH, WIDE, lay_out
from .svg import NOTHING, Point, cut, element, picture
from .taken import find_taken
from .words import count_statuses, name_status

# Beyond these nobody finds anything in a picture; the table beside it says the same.
MOST_STEPS, MOST_EDGES = 200, 1000
# Round the picture, for lines are drawn on both sides of an edge.
MARGIN = 2
PADDING = 9
# How many letters there is room for, and how many a mark takes.
NAME_ROOM, TYPE_ROOM, MARK_ROOM = 18, 20, 3
# Fewer letters of a type say nothing.
LEAST_ROOM = 6
# So much wider is a letter of the note.
BOLD = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What the box of a step says. ``status`` is empty where it has not begun; ``note`` is short."""

    label: str
    type: str = ""
    status: str = ""
    note: str = ""
    url: str = ""


def draw_graph(arrangement: Arrangement, boxes: Mapping[str, Box]) -> SafeString:
    """Return the graph in its natural size, the boxes by the names of steps.

    An empty text where there is nothing to draw, or too much.
    """
    if not 0 < len(arrangement.cells) <= MOST_STEPS or len(arrangement.edges) > MOST_EDGES:
        return NOTHING
    shown = {name: boxes.get(name) or Box(label=name) for name in arrangement.cells}
    statuses = {name: box.status for name, box in shown.items()}
    has_run = any(statuses.values())
    grid = lay_out(arrangement)
    nodes = (
        _draw_node(name, shown[name], (grid.left(cell), grid.top(cell)), has_run=has_run)
        for name, cell in arrangement.cells.items()
    )
    edges, outside = draw_edges(arrangement, grid, find_taken(arrangement, statuses))
    across, down = zip(*outside, (0, 0), (grid.width, grid.height), strict=True)
    left, top = floor(min(across)) - MARGIN, floor(min(down)) - MARGIN
    return picture(
        edges,
        *nodes,
        corner=(left, top),
        width=ceil(max(across)) + MARGIN - left,
        height=ceil(max(down)) + MARGIN - top,
        class_="workflow-picture workflow-graph",
        # An image has no content for a screen reader, so that its links could not be reached.
        role="group" if any(box.url for box in shown.values()) else "img",
        aria_label=_describe(list(statuses.values())),
    )


def _describe(statuses: list[str]) -> str:
    graph = ngettext("Graph of %d step", "Graph of %d steps", len(statuses)) % len(statuses)
    if not any(statuses):
        return graph
    return _("%(graph)s: %(statuses)s") % {"graph": graph, "statuses": count_statuses(statuses)}


def _draw_node(name: str, box: Box, place: Point, *, has_run: bool) -> SafeString:
    left, top = place
    title = _tell(box, has_run=has_run)
    content = (
        element("title", title),
        element("rect", x=left + 0.5, y=top + 0.5, width=WIDE - 1, height=HIGH - 1, rx=6),
        _draw_sign(box.status, left + PADDING, top + (HIGH - SIZE) / 2) if has_run else NOTHING,
        *_draw_texts(box, (left + PADDING + (SIZE + 7 if has_run else 0), top), MARK_ROOM if has_run else 0),
        _draw_note(box.note, left + WIDE - PADDING, top + 34),
    )
    status = box.status if has_run else None
    if not box.url:
        return element("g", *content, class_="workflow-node", data_status=status)
    link = {"href": box.url, "id": f"workflow-node-{name}", "aria_label": title}
    return element("a", *content, class_="workflow-node", data_status=status, **link)


def _draw_sign(status: str, left: float, top: float) -> SafeString:
    return element("g", draw_shape(status), class_="workflow-sign", transform=f"translate({left:g} {top:g})")


def _draw_texts(box: Box, place: Point, lost: int) -> Iterator[SafeString]:
    """Yield the name and below it the type, as far as the note leaves room for one."""
    left, top = place
    room = TYPE_ROOM - lost - (round(len(box.note) * BOLD) + 2 if box.note else 0)
    has_type = bool(box.type) and room >= LEAST_ROOM
    yield element(
        "text", cut(box.label, NAME_ROOM - lost), x=left, y=top + (19 if box.type or box.note else 27)
    )
    if has_type:
        yield element("text", cut(box.type, room), x=left, y=top + 34, class_="workflow-small")


def _draw_note(note: str, right: float, bottom: float) -> SafeString:
    if not note:
        return NOTHING
    return element("text", note, x=right, y=bottom, text_anchor="end", class_="workflow-small workflow-note")


def _tell(box: Box, *, has_run: bool) -> str:
    """Return all that the box says, in full."""
    parts = [box.label, box.type, name_status(box.status) if has_run else "", box.note]
    return ", ".join(filter(None, parts))
