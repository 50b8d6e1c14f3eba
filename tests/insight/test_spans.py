"""Durations as people read them."""

from __future__ import annotations

import pytest
from django.utils import translation

from django_workflow.insight.spans import show_span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 ms"),
        (0, "0 ms"),
        (0.35, "350 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (4.2, "4.2 s"),
        (4.04, "4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (180, "3 min"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86399, "1 d"),
        (3 * 86400 + 4 * 3600 + 12, "3 d 4 h"),
        (36500 * 86400, "36500 d"),
    ],
)
def test_a_duration_has_one_unit_or_two(seconds: float, text: str) -> None:
    assert show_span(seconds) == text


def test_a_fraction_is_written_as_the_language_does() -> None:
    with translation.override("de"):
        assert show_span(4.2).startswith("4,2")
