"""Marks: one shape for each status, in the colour of the text beside it."""

from __future__ import annotations

from django.utils.safestring import SafeString

from .svg import element, join, picture
from .words import name_status

SIZE = 16

_DISC = "M8 1a7 7 0 1 0 0 14A7 7 0 1 0 8 1Z"
_RING = f"{_DISC}M8 2.7a5.3 5.3 0 1 1 0 10.6A5.3 5.3 0 1 1 8 2.7Z"
_CROSS = "M5.6 4.5 8 6.9 10.4 4.5 11.5 5.6 9.1 8 11.5 10.4 10.4 11.5 8 9.1 5.6 11.5 4.5 10.4 6.9 8 4.5 5.6Z"

# What is over is full, what is to come is open. Shapes in shapes are holes, so that any ground shows through.
SHAPES = {
    "pending": (_RING,),
    "running": (_RING, "M6.4 4.9 11.4 8 6.4 11.1Z"),
    "waiting": (_RING, "M7.2 4H8.7V7.6L11.2 9.2 10.4 10.4 7.2 8.4Z"),
    "paused": ("M3.5 2.5H6.7V13.5H3.5ZM9.3 2.5H12.5V13.5H9.3Z",),
    "done": (f"{_DISC}M3.9 8.4 5.1 7.1 7.1 9.1 10.9 5.1 12.2 6.3 7.1 11.6Z",),
    "failed": (f"M5.1 1H10.9L15 5.1V10.9L10.9 15H5.1L1 10.9V5.1Z{_CROSS}",),
    "skipped": ("M1.5 3.5 7 8 1.5 12.5ZM7 3.5 12.5 8 7 12.5ZM12.8 3.5H14.4V12.5H12.8Z",),
    "cancelled": (_RING, "M3.4 11.5 11.5 3.4 12.6 4.5 4.5 12.6Z"),
}
NEUTRAL = ("M4 7.2H12V8.8H4Z",)


def draw_shape(status: str) -> SafeString:
    """Return the shape of a status, 16 pixels wide and high, to be put into a picture."""
    shapes = SHAPES.get(status, NEUTRAL)
    return join(element("path", d=d, fill="currentColor", fill_rule="evenodd") for d in shapes)


def draw_mark(status: str) -> SafeString:
    """Return the mark of a status, which says nothing to a screen reader: the word stands beside it."""
    return picture(
        draw_shape(status),
        width=SIZE,
        height=SIZE,
        class_="workflow-mark",
        data_status=status,
        aria_hidden="true",
        focusable="false",
    )


def draw_badge(status: str, label: str | None = None) -> SafeString:
    """Return the mark and the word of a status, or ``label`` in its place."""
    word = name_status(status) if label is None else label
    return element("span", draw_mark(status), word, class_="workflow-badge", data_status=status)
