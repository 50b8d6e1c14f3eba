"""Pictures: what they say to those who see them and to those who do not; a strict policy lets them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.admin.pictures.bars import Bar
from django_workflow.admin.pictures.graph import Box, draw_graph
from django_workflow.admin.pictures.marks import draw_badge, draw_mark
from django_workflow.admin.pictures.strip import StripItem, draw_strip
from django_workflow.admin.pictures.svg import cut, element
from django_workflow.admin.pictures.taken import find_taken
from django_workflow.admin.pictures.timeline import draw_timeline
from django_workflow.insight.layers import arrange
from django_workflow.status import RunStatus, StepStatus

from .test_layers_of_graphs import DIAMOND, ORDER, Jumps, graph_of, graphs, jumps

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
NASTY = '<b style="x">&"'
REFUSING: Jumps = {"charge": ["refuse"], "approve": ["refuse"]}


def parse(svg: str) -> Element:
    return ElementTree.fromstring(svg)


def of_class(root: Element, name: str) -> list[Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def texts(root: Element) -> list[str]:
    return [each.text or "" for each in root.iter("text")]


def numbers(each: Element, *names: str) -> list[float]:
    return [float(each.attrib[name]) for name in names]


def boxes_of(root: Element) -> list[list[float]]:
    rects = [each.find("rect") for each in of_class(root, "workflow-node")]
    return [numbers(each, "x", "y", "width", "height") for each in rects if each is not None]


def bar(lane: str, start: float, end: float | None, status: str = "done", **more: Any) -> Bar:
    ends = None if end is None else NOW + timedelta(seconds=end)
    more.setdefault("label", "")
    return Bar(lane=lane, start=NOW + timedelta(seconds=start), end=ends, status=status, **more)


def timeline(*bars: Bar, now: float = 1000) -> Element:
    return parse(draw_timeline(bars, now=NOW + timedelta(seconds=now)))


def rects(root: Element) -> list[list[float]]:
    found = [each.find("rect") for each in of_class(root, "workflow-bar")]
    return [numbers(each, "x", "width") for each in found if each is not None]


def all_pictures() -> Iterator[str]:
    """Yield a picture of each kind, with names that want to break out."""
    statuses = [*StepStatus.values, "", "odd", NASTY]
    yield from (draw_mark(status) for status in statuses)
    yield draw_strip([StripItem(status=status, at=NOW) for status in statuses])
    for url in ("", f"/?x={NASTY}"):
        boxes = {
            name: Box(label=NASTY, type=NASTY, status=status, note=NASTY, url=url)
            for name, status in zip(ORDER.steps, statuses, strict=False)
        }
        yield draw_graph(arrange(ORDER, REFUSING), boxes)
        bars = [bar(NASTY + status, 0.123, None, status, label=NASTY, url=url) for status in statuses]
        waits = [bar("a", 1.5, 100_000, is_work=False), bar("a", 100_000, 1_234_567.8, title=NASTY)]
        yield draw_timeline([*bars, *waits], now=NOW + timedelta(days=30))


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_strict_policy_lets_every_picture(language: str) -> None:
    with translation.override(language):
        for svg in all_pictures():
            for each in parse(svg).iter():
                assert each.tag in {"svg", "g", "a", "path", "rect", "text", "title"}
                assert not {"style", "fill"} & each.attrib.keys() or each.get("fill") == "currentColor"
                assert not [name for name in each.attrib if name.startswith("on")]


@pytest.mark.parametrize("language", ["en", "de"])
def test_numbers_are_no_matter_of_language(language: str) -> None:
    with translation.override(language):
        for svg in all_pictures():
            for each in parse(svg).iter():
                for name in ("x", "y", "width", "height", "rx", "viewBox", "d", "transform"):
                    assert "," not in each.get(name, "")
                    assert not re.search(r"e[+-]?\d|nan|inf", each.get(name, ""))


def test_a_badge_has_a_shape_and_a_word_for_each_status() -> None:
    marks = {
        draw_mark(status).replace(status, "") for status in {*RunStatus.values, *StepStatus.values, "odd"}
    }

    assert len(marks) == 9
    assert draw_badge("failed").endswith("failed</span>")
    assert 'data-status="failed"' in draw_badge("failed")
    assert "3 &lt; 4" in draw_badge("done", "3 < 4")
    assert parse(draw_mark("done")).get("aria-hidden") == "true"


def test_a_badge_speaks_the_language_of_the_reader() -> None:
    with translation.override("de"):
        assert str(RunStatus.WAITING.label) in draw_badge("waiting")


def test_a_strip_counts_the_last_twenty_runs() -> None:
    runs = [StripItem(status=status, at=NOW) for status in ["failed"] * 5 + ["done"] * 18 + ["failed"] * 2]
    root = parse(draw_strip(runs))

    assert root.get("role") == "img"
    assert root.get("aria-label") == "20 runs: 18 done, 2 failed"
    assert [each.get("data-status") for each in root] == ["done"] * 18 + ["failed"] * 2
    assert "done, 05/01/2030 12:00:00" in [each.text for each in root.iter("title")]


def test_a_strip_tells_statuses_by_shape() -> None:
    shapes = [
        parse(draw_strip([StripItem(status=status, at=NOW)]))[0].get("d")
        for status in ("done", "failed", "cancelled", "running")
    ]

    assert len(set(shapes)) == 4


def test_no_runs_make_no_strip() -> None:
    assert draw_strip([]) == ""


def test_a_graph_says_what_it_shows() -> None:
    boxes = {name: Box(label=name, status=status) for name, status in {"a": "done", "b": "failed"}.items()}
    root = parse(draw_graph(arrange(DIAMOND, {}), boxes))

    assert root.get("role") == "img"
    assert root.get("aria-label") == "Graph of 4 steps: 1 done, 1 failed, 2 not begun"
    assert texts(root) == ["a", "b", "c", "d"]


def test_a_graph_without_a_run_has_no_statuses() -> None:
    root = parse(draw_graph(arrange(DIAMOND, {}), {}))

    assert root.get("aria-label") == "Graph of 4 steps"
    assert not of_class(root, "workflow-sign")


def test_links_of_a_graph_can_be_reached() -> None:
    boxes = {"a": Box(label="a", type="x.y", status="done", note="visit 2", url="/?step=a&b")}
    root = parse(draw_graph(arrange(DIAMOND, {}), boxes))
    (link,) = root.iter("a")

    assert root.get("role") == "group"
    assert link.get("href") == "/?step=a&b"
    assert link.get("aria-label") == "a, x.y, done, visit 2"


def test_a_long_name_is_cut_and_told_in_full() -> None:
    name = "a_name_that_has_so_many_letters_that_no_box_can_hold_it"
    root = parse(draw_graph(arrange(graph_of(a=None), {}), {"a": Box(label=name)}))

    assert texts(root)[0].endswith("…")
    assert [each.text for each in root.iter("title")] == [name]


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("charge", 6, "charge"),
        ("charges", 6, "charg…"),
        ("払い戻し", 6, "払い…"),
        ("払い戻", 6, "払い戻"),
        ("", 3, ""),
    ],
)
def test_a_text_is_cut_by_its_width(text: str, room: int, shown: str) -> None:
    assert cut(text, room) == shown


@given(graphs, jumps)
def test_boxes_lie_apart_and_all_lines_in_the_picture(graph: Any, given_jumps: Jumps) -> None:
    svg = draw_graph(arrange(graph, given_jumps), {})
    if not svg:
        assert not graph.steps
        return
    root = parse(svg)
    left, top, width, height = map(float, root.attrib["viewBox"].split())

    for one, other in combinations(boxes_of(root), 2):
        assert abs(one[0] - other[0]) >= one[2] + 1 or abs(one[1] - other[1]) >= one[3] + 1
    for path in root.iter("path"):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)(?= [A-Z]|$)", path.attrib["d"]):
            assert left <= float(x) <= left + width
            assert top <= float(y) <= top + height


def test_a_long_graph_goes_on_in_the_next_line() -> None:
    root = parse(draw_graph(arrange(graph_of(**{f"s{number}": None for number in range(60)}), {}), {}))

    assert float(root.attrib["width"]) < 1100
    assert float(root.attrib["height"]) < 1000
    assert len(boxes_of(root)) == 60


def test_a_line_ends_where_few_needs_are_cut() -> None:
    graph = graph_of(
        a=None, b=None, c=None, d=None, e=None, x=("d",), y=("d",), z=("e", "x", "y"), last=("z",)
    )
    rows = [box[1] for box in boxes_of(parse(draw_graph(arrange(graph, {}), {})))]

    assert rows[:3] == [rows[0]] * 3
    assert min(rows[3:]) > rows[0]


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(),
        graph_of(**{f"s{number}": None for number in range(201)}),
        graph_of(**{f"s{number}": tuple(f"s{near}" for near in range(number)) for number in range(50)}),
    ],
    ids=["no steps", "many steps", "many needs"],
)
def test_what_nobody_could_read_is_not_drawn(graph: Any) -> None:
    assert draw_graph(arrange(graph, {}), {}) == ""


TAKEN: dict[str, tuple[dict[str, str], set[tuple[str, str]]]] = {
    "nothing has begun": ({}, set()),
    "the first runs": ({"charge": "running"}, set()),
    "on the main line": (
        {"charge": "done", "approve": "done", "gift": "running"},
        {("charge", "approve"), ("approve", "gift")},
    ),
    "past a skipped step": (
        {"charge": "done", "approve": "skipped", "gift": "done"},
        {("charge", "approve"), ("approve", "gift")},
    ),
    "into an error path": (
        {"charge": "done", "approve": "failed", "gift": "skipped", "refuse": "done", "regret": "pending"},
        {("charge", "approve"), ("approve", "refuse"), ("refuse", "regret")},
    ),
    "not into what was cancelled": ({"charge": "done", "approve": "cancelled"}, set()),
}


@pytest.mark.parametrize(("statuses", "taken"), TAKEN.values(), ids=TAKEN)
def test_the_way_of_a_run_is_seen(statuses: dict[str, str], taken: set[tuple[str, str]]) -> None:
    assert find_taken(arrange(ORDER, REFUSING), statuses) == taken


def test_the_way_of_a_run_differs_in_shape() -> None:
    boxes = {"charge": Box(label="charge", status="done"), "approve": Box(label="approve", status="running")}
    root = parse(draw_graph(arrange(ORDER, REFUSING), boxes))

    taken = [(each.get("data-kind"), "data-taken" in each.attrib) for each in of_class(root, "workflow-edge")]
    assert taken == [("need", False), ("jump", False), ("need", True)]


def test_lanes_are_in_the_order_in_which_they_began() -> None:
    root = timeline(bar("b", 5, 9), bar("a", 1, 3), bar("c", 2, 3), bar("a", 20, 21, "failed"))

    assert texts(root)[:3] == ["a", "c", "b"]
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Timeline of 3 steps over 20 s: 2 done, 1 failed"
    assert [each.get("data-status") for each in of_class(root, "workflow-sign")] == ["failed", "done", "done"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50), st.floats(0, 50), st.booleans()), min_size=1)
)
def test_bars_are_seen_and_stay_in_the_picture(drawn: Sequence[tuple[str, float, float, bool]]) -> None:
    root = timeline(*(bar(lane, start, end, is_work=is_work) for lane, start, end, is_work in drawn))

    found = rects(root)
    assert len(found) == len(drawn)
    for left, width in found:
        assert width >= 2.9
        assert left >= 0
        assert left + width <= float(root.attrib["width"])


def test_short_attempts_stand_beside_each_other() -> None:
    attempts = [bar("a", number / 1000, number / 1000 + 0.0005) for number in range(5)]
    found = rects(timeline(*attempts, bar("b", 1, 1000)))[:5]

    assert all(left[0] + left[1] < right[0] for left, right in pairwise(found))


def test_a_wait_of_three_days_is_cut_short() -> None:
    days = 3 * 86400
    wait = bar("b", 10, 10 + days, "waiting", is_work=False)
    root = timeline(bar("a", 0, 10), wait, bar("c", 10 + days, 20 + days))

    (gap,) = of_class(root, "workflow-gap")
    assert float(gap.attrib["width"]) < 60
    assert "3 d" in texts(root)
    assert len(of_class(root, "workflow-zigzag")) == 1
    assert ["data-waits" in each.attrib for each in of_class(root, "workflow-bar")] == [False, True, False]


def test_what_goes_on_ends_now() -> None:
    root = timeline(bar("a", 0, 10), bar("b", 10, None, "running"), now=20)

    assert texts(root)[-1] == "now"
    assert len(of_class(root, "workflow-now")) == 1


def test_times_are_those_of_the_reader() -> None:
    with timezone.override("Asia/Tokyo"):
        root = timeline(bar("a", 0, 90))

    assert texts(root)[-3:] == ["05/01/2030 21:00:00", "1 min 30 s", "21:01:30"]


def test_the_last_of_many_lanes_are_counted() -> None:
    root = timeline(*(bar(f"item {number}", number, number + 1) for number in range(63)))

    assert len(of_class(root, "workflow-bar")) == 60
    assert "and 3 more" in texts(root)


def test_links_of_a_timeline_can_be_reached() -> None:
    root = timeline(bar("a", 0, 4.2, url="/?step=a"), bar("b", 1, 2, url="/?step=b", title="the second"))
    links = list(root.iter("a"))

    assert root.get("role") == "group"
    assert [link.get("aria-label") for link in links] == ["a, done, 4.2 s", "the second"]
    assert len({link.get("id") for link in links}) == 2


def test_a_label_stands_where_there_is_room() -> None:
    root = timeline(
        bar("a", 0, 1000, label="wide"), bar("b", 0, 1, label="right"), bar("c", 999, 1000, label="left")
    )
    places = {each.text: each.get("text-anchor") for each in root.iter("text")}

    assert (places["wide"], places["right"], places["left"]) == ("start", "start", "end")


def test_a_label_without_room_is_left_out() -> None:
    crowd = [bar("a", number, number + 1, label="a label of some length") for number in range(100)]

    assert "a label of some length" not in texts(timeline(*crowd))


def test_nothing_has_no_timeline() -> None:
    assert draw_timeline([], now=NOW) == ""


def test_an_element_escapes_what_it_is_given() -> None:
    written = element("text", "<", element("title", "&"), class_='"', text_anchor=None, x=1.26, y=-0.04)

    assert written == '<text class="&quot;" x="1.3" y="-0">&lt;<title>&amp;</title></text>'
