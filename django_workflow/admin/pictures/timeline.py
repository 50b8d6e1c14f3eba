"""The timeline of a run: a lane for each step, a bar for each attempt, long pauses cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...insight.spans import show_span
from ...insight.timescale import Span, fit
from .bars import Bar, draw_bars
from .frame import Frame, draw_ground, draw_over
from .marks import SIZE, draw_shape
from .svg import NOTHING, cut, element, picture
from .words import count_statuses, name_status

MOST_LANES = 60
WIDTH = 1000
# The names of lanes are left of the bars, and as many letters long at the most.
NAMES, NAME_ROOM = 170, 21
# What is right of the last moment.
REST = 12
LANE, FOOT = 24, 26
# Above the lanes, with gaps and without.
HEAD, LOW_HEAD = 20, 4


def draw_timeline(bars: Sequence[Bar], *, now: datetime, width: float = WIDTH) -> SafeString:
    """Return the bars over time, the lanes in the order in which they began; an empty text without bars."""
    if not bars:
        return NOTHING
    lanes = _sort_lanes(bars)
    shown = dict(list(lanes.items())[:MOST_LANES])
    spans = [Span(start=bar.start, end=bar.end, is_work=bar.is_work) for bar in bars]
    scale = fit(spans, now=now, width=width - NAMES - REST)
    top = HEAD if scale.gaps else LOW_HEAD
    frame = Frame(
        scale=scale,
        left=NAMES,
        top=top,
        bottom=top + len(shown) * LANE,
        lane=LANE,
        is_open=any(bar.end is None for bar in bars),
    )
    return picture(
        *draw_ground(frame),
        *(part for number, lane in enumerate(shown) for part in _draw_lane(frame, number, shown[lane], now)),
        *draw_over(frame),
        _draw_more(len(lanes) - len(shown), frame.bottom + FOOT + 12),
        width=width,
        height=frame.bottom + FOOT + (LANE if len(lanes) > len(shown) else 0),
        class_="workflow-picture workflow-timeline",
        # An image has no content for a screen reader, so that its links could not be reached.
        role="group" if any(bar.url for bar in bars) else "img",
        aria_label=_describe(lanes, frame),
    )


def _sort_lanes(bars: Sequence[Bar]) -> dict[str, list[Bar]]:
    lanes: dict[str, list[Bar]] = {}
    for bar in sorted(bars, key=lambda bar: bar.start):
        lanes.setdefault(bar.lane, []).append(bar)
    return lanes


def _describe(lanes: dict[str, list[Bar]], frame: Frame) -> str:
    length = show_span((frame.scale.end - frame.scale.start).total_seconds())
    timeline = ngettext("Timeline of %d step", "Timeline of %d steps", len(lanes)) % len(lanes)
    statuses = count_statuses(lane[-1].status for lane in lanes.values())
    return _("%(timeline)s over %(length)s: %(statuses)s") % {
        "timeline": timeline,
        "length": length,
        "statuses": statuses,
    }


def _draw_lane(frame: Frame, number: int, bars: Sequence[Bar], now: datetime) -> Iterator[SafeString]:
    """Yield the mark and the name of a lane, then its bars."""
    middle = frame.top + number * LANE + LANE / 2
    status, name = bars[-1].status, bars[0].lane
    shift = f"translate(2 {middle - SIZE / 2:g})"
    yield element("g", draw_shape(status), class_="workflow-sign", data_status=status, transform=shift)
    title = element("title", f"{name}: {name_status(status)}")
    yield element("text", cut(name, NAME_ROOM), title, x=SIZE + 10, y=middle + 4)
    yield from draw_bars(frame, bars, middle=middle, now=now, id=f"workflow-bar-{number}")


def _draw_more(count: int, height: float) -> SafeString:
    if not count:
        return NOTHING
    text = ngettext("and %d more", "and %d more", count) % count
    return element("text", text, x=SIZE + 10, y=height, class_="workflow-small")
