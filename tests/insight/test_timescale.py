"""Time to scale, the long stretches without work cut short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.insight.timescale import SHORT, Span, Timescale, fit

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
WIDTH = 600.0


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def span(start: float, end: float | None, is_work: bool = True) -> Span:
    return Span(start=at(start), end=None if end is None else at(end), is_work=is_work)


def scale(*spans: Span, now: float = 0) -> Timescale:
    return fit(spans, now=at(now), width=WIDTH)


moments = st.integers(-1_000_000, 1_000_000) | st.floats(-100, 100)
spans = st.builds(span, moments, st.none() | moments, st.booleans())


@given(st.lists(spans, max_size=12), st.lists(moments, min_size=2))
def test_what_is_later_is_never_further_left(given_spans: list[Span], seconds: list[float]) -> None:
    places = [scale(*given_spans).place(at(each)) for each in sorted(seconds)]

    assert places == sorted(places)
    assert all(0 <= place <= WIDTH for place in places)


@given(st.lists(spans, max_size=12))
def test_the_pieces_follow_each_other_and_fill_the_width(given_spans: list[Span]) -> None:
    pieces = scale(*given_spans).pieces

    assert pieces[0].left == 0
    assert pieces[-1].right == WIDTH
    for one, other in pairwise(pieces):
        assert (one.end, one.right) == (other.start, other.left)


@given(st.lists(spans, max_size=12))
def test_no_work_is_done_in_a_gap(given_spans: list[Span]) -> None:
    for gap in scale(*given_spans).gaps:
        assert gap.right - gap.left == pytest.approx(min(SHORT, gap.right - gap.left))
        for each in given_spans:
            end = max(each.start, each.end or NOW)
            assert not each.is_work or end <= gap.start or gap.end <= each.start


@given(st.lists(spans, min_size=1, max_size=12))
def test_everything_is_within_the_scale(given_spans: list[Span]) -> None:
    found = scale(*given_spans)

    assert found.start == min(each.start for each in given_spans)
    assert found.end == max(max(each.start, each.end or NOW) for each in given_spans)


def test_work_without_a_pause_is_to_scale() -> None:
    found = scale(span(0, 10), span(10, 30), span(5, 40))

    assert found.gaps == ()
    assert [found.place(at(each)) for each in (0, 10, 20, 40)] == [0, 150, 300, 600]


def test_a_short_pause_is_to_scale() -> None:
    found = scale(span(0, 10), span(12, 20))

    assert found.gaps == ()
    assert found.place(at(10)) == 300


def test_three_days_of_waiting_are_cut_short() -> None:
    days = 3 * 86400
    found = scale(span(0, 10), span(10, 10 + days, is_work=False), span(10 + days, 20 + days))

    (gap,) = found.gaps
    assert gap.seconds == days
    assert gap.right - gap.left == pytest.approx(SHORT)
    assert gap.left == pytest.approx((WIDTH - SHORT) / 2)


def test_what_waits_until_now_is_cut_short_at_the_end() -> None:
    found = scale(span(0, 10), span(10, None, is_work=False), now=9000)

    (gap,) = found.gaps
    assert (gap.start, gap.end, gap.right) == (at(10), at(9000), WIDTH)


def test_a_wait_before_the_first_work_is_cut_short() -> None:
    (gap,) = scale(span(0, 9000, is_work=False), span(9000, 9010)).gaps

    assert (gap.left, gap.right) == (0, SHORT)


def test_pauses_are_measured_by_all_that_is_shown() -> None:
    found = scale(*(span(each * 12, each * 12 + 10) for each in range(10)), span(150, 160))

    # 32 s are more than a quarter of the first work, and less than a quarter of all that is to scale.
    assert found.gaps == ()


def test_many_gaps_leave_half_of_the_width() -> None:
    found = scale(*(span(each * 1000, each * 1000 + 1) for each in range(101)))

    assert len(found.gaps) == 100
    assert sum(gap.right - gap.left for gap in found.gaps) == pytest.approx(WIDTH / 2)


def test_waiting_alone_is_to_scale() -> None:
    found = scale(span(0, 100, is_work=False))

    assert found.gaps == ()
    assert found.place(at(50)) == WIDTH / 2


@pytest.mark.parametrize("given_spans", [(), (span(0, 0),), (span(0, 0), span(0, None, is_work=False))])
def test_one_instant_is_at_the_left(given_spans: tuple[Span, ...]) -> None:
    assert scale(*given_spans).place(NOW) == 0


def test_an_end_before_the_start_is_no_trouble() -> None:
    assert scale(span(5, 1), span(0, 10)).place(at(5)) == WIDTH / 2
