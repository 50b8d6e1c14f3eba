"""What is round the bars of a timeline: the axis, stretches that are cut short, and where it is now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ...insight.spans import show_span
from ...insight.timescale import Piece, Timescale
from .svg import element, path
from .words import write_moment

# A zigzag's teeth, and how wide a gap must be for its length to be written above it.
TOOTH, NARROW = 4, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The place of the bars in a timeline, in lanes so high; ``is_open``: something of it goes on."""

    scale: Timescale
    left: float
    top: float
    bottom: float
    lane: float
    is_open: bool


def draw_ground(frame: Frame) -> Iterator[SafeString]:
    """Yield what lies under the bars: the bands of the gaps, and lines between the lanes."""
    for gap in frame.scale.gaps:
        place = {"x": frame.left + gap.left, "width": gap.right - gap.left}
        size = {"y": frame.top, "height": frame.bottom - frame.top}
        yield element("rect", class_="workflow-gap", **place, **size)
    right = frame.left + frame.scale.pieces[-1].right
    count = round((frame.bottom - frame.top) / frame.lane)
    between = (path("M", 0, frame.top + number * frame.lane + 0.5, "H", right) for number in range(1, count))
    yield element("path", class_="workflow-lanes", d=" ".join(between))
    yield element("path", class_="workflow-axis", d=path("M", frame.left, frame.bottom + 0.5, "H", right))


def draw_over(frame: Frame) -> Iterator[SafeString]:
    """Yield what lies over the bars: a zigzag through each gap with its length, now, and the times."""
    for gap in frame.scale.gaps:
        yield from _draw_gap(frame, gap)
    right = frame.left + frame.scale.pieces[-1].right
    if frame.is_open:
        line = path("M", right, frame.top, "V", frame.bottom + 5)
        yield element("path", class_="workflow-now", d=line)
    yield from _draw_times(frame, right)


def _draw_gap(frame: Frame, gap: Piece) -> Iterator[SafeString]:
    middle = frame.left + (gap.left + gap.right) / 2
    zigzag: list[str | float] = ["M", middle, frame.top, "L"]
    for number in range(1, round((frame.bottom - frame.top) / TOOTH) + 1):
        zigzag += [middle + (TOOTH / 2 if number % 2 else -TOOTH / 2), frame.top + number * TOOTH]
    length = show_span(gap.seconds)
    title = element("title", _("%s without work") % length)
    # Once in the colour of the ground, so that the line of a waiting bar is seen to be broken.
    yield element("path", class_="workflow-break", d=path(*zigzag))
    yield element("path", title, class_="workflow-zigzag", d=path(*zigzag))
    if gap.right - gap.left >= NARROW:
        yield element(
            "text", length, x=middle, y=frame.top - 6, text_anchor="middle", class_="workflow-small"
        )


def _draw_times(frame: Frame, right: float) -> Iterator[SafeString]:
    scale, below = frame.scale, frame.bottom + 18
    last = _("now") if frame.is_open else write_moment(scale.end, beside=scale.start)
    whole = show_span((scale.end - scale.start).total_seconds())
    texts = (
        (write_moment(scale.start), frame.left, "start"),
        (whole, (frame.left + right) / 2, "middle"),
        (last, right, "end"),
    )
    for text, place, anchor in texts:
        yield element("text", text, x=place, y=below, text_anchor=anchor, class_="workflow-small")
