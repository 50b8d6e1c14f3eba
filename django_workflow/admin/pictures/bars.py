"""The bars of one lane of a timeline, each with its label inside or beside it, as there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from ...insight.spans import show_span
from .frame import Frame
from .svg import NOTHING, element
from .words import name_status

# The height of a bar, and of one that waits; the width of a very short one.
WORK, WAIT, LEAST = 14, 8, 3
# About the width of a letter, and what is between a bar and a letter.
LETTER, ASIDE = 6.2, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One attempt, or a time that one waited. ``end`` is None while it goes on.

    ``label`` stands beside the bar where there is room; ``title`` is told on hover, and by a screen reader.
    """

    lane: str
    label: str
    start: datetime
    end: datetime | None
    status: str
    is_work: bool = True
    url: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A bar in pixels."""

    bar: Bar
    left: float
    right: float


def draw_bars(
    frame: Frame, bars: Sequence[Bar], *, middle: float, now: datetime, id: str
) -> Iterator[SafeString]:
    """Yield the bars of a lane at the height ``middle``; ``bars`` come in the order of time.

    ``id`` begins the ids of those that are links.
    """
    placed = list(_place(frame, bars, now))
    gaps = [(frame.left + gap.left, frame.left + gap.right) for gap in frame.scale.gaps]
    taken = [*((each.left, each.right) for each in placed), *gaps]
    for number, each in enumerate(placed):
        label = _draw_label(frame, each, middle, taken)
        yield _draw(each, middle, each.bar.title or _tell(each.bar, now), label, f"{id}-{number}")


def _place(frame: Frame, bars: Sequence[Bar], now: datetime) -> Iterator[_Placed]:
    """Yield the bars side by side, also where they are too short to be seen otherwise."""
    last = frame.left + frame.scale.pieces[-1].right
    free, latest = frame.left, bars[0].start
    for bar in bars:
        left = frame.left + frame.scale.place(bar.start)
        if bar.start >= latest:
            left = max(left, free)
        left = min(left, last - LEAST)
        right = max(frame.left + frame.scale.place(bar.end or now), left + LEAST)
        free, latest = right + 1, max(latest, bar.end or now)
        yield _Placed(bar=bar, left=left, right=right)


def _draw(placed: _Placed, middle: float, title: str, label: SafeString, id: str) -> SafeString:
    bar = placed.bar
    high = WORK if bar.is_work else WAIT
    content = (
        element("title", title),
        element(
            "rect",
            x=placed.left,
            y=middle - high / 2,
            width=placed.right - placed.left,
            height=high,
            rx=min(3, (placed.right - placed.left) / 2),
        ),
        label,
    )
    about = {"class_": "workflow-bar", "data_status": bar.status, "data_waits": None if bar.is_work else ""}
    if not bar.url:
        return element("g", *content, **about)
    return element("a", *content, **about, href=bar.url, id=id, aria_label=title)


def _tell(bar: Bar, now: datetime) -> str:
    length = show_span(((bar.end or now) - bar.start).total_seconds())
    return ", ".join(filter(None, (bar.lane, bar.label, name_status(bar.status), length)))


def _draw_label(
    frame: Frame, placed: _Placed, middle: float, taken: Sequence[tuple[float, float]]
) -> SafeString:
    """Return the label: inside a bar, else right of it, else left, else nowhere."""
    label, need = placed.bar.label, len(placed.bar.label) * LETTER + 2 * ASIDE
    end = frame.left + frame.scale.pieces[-1].right
    right = min((left for left, _right in taken if left >= placed.right), default=end)
    left = max((right for _left, right in taken if right <= placed.left), default=frame.left)
    if not label:
        return NOTHING
    if placed.bar.is_work and need <= placed.right - placed.left:
        place, anchor = placed.left + ASIDE, "start"
    elif need <= right - placed.right:
        place, anchor = placed.right + ASIDE, "start"
    elif need <= placed.left - left:
        place, anchor = placed.left - ASIDE, "end"
    else:
        return NOTHING
    return element("text", label, x=place, y=middle + 4, text_anchor=anchor, class_="workflow-small")
