"""Filters in words: each phrase, and all of them together."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation

from django_workflow.engine.run_filters import RunFilters
from django_workflow.insight.filters_in_words import describe_filters

AT = datetime(2026, 3, 7, 12, 30, 5, 123456, tzinfo=UTC)
CASES = [
    ({}, []),
    ({"workflow": "order"}, ["workflow order"]),
    ({"status": ("failed",)}, ["failed"]),
    ({"status": ("paused", "pending", "running")}, ["pending, running or paused"]),
    ({"is_unresolved": True}, ["failed and unresolved"]),
    ({"is_unresolved": True, "status": ("failed",)}, ["failed and unresolved"]),
    ({"is_unresolved": True, "status": ("done", "failed")}, ["done or failed, and unresolved"]),
    ({"has_failed_steps": True}, ["done, though steps failed"]),
    ({"error": "OSError"}, ["error OSError"]),
    ({"step": "charge"}, ["at the step charge"]),
    ({"stopped_at": "charge"}, ["stopped at charge"]),
    ({"key": "order-7"}, ["key order-7"]),
    ({"search": "order-"}, ["id, key or subject: order-"]),
    ({"about": "testapp.order:17"}, ["about order 17"]),
    ({"about": "gone.model:a:b"}, ["about gone.model a:b"]),
    ({"about": "nonsense"}, ["about nonsense "]),
    ({"created_after": AT}, ["triggered after March 7, 2026, 12:30 p.m."]),
    ({"created_before": AT}, ["triggered before March 7, 2026, 12:30 p.m."]),
    ({"finished_after": AT}, ["ended after March 7, 2026, 12:30 p.m."]),
    (
        {"workflow": "order", "is_unresolved": True, "error": "OSError", "stopped_at": "charge"},
        ["failed and unresolved", "workflow order", "error OSError", "stopped at charge"],
    ),
]


@pytest.mark.parametrize(("given", "phrases"), CASES)
def test_each_filter_is_a_phrase(given: dict[str, Any], phrases: list[str]) -> None:
    assert describe_filters(RunFilters(**given)) == phrases


def test_no_filter_is_left_without_words() -> None:
    tested = {name for given, _phrases in CASES for name in given}
    assert tested == {each.name for each in fields(RunFilters)}


def test_moments_are_written_as_the_language_does() -> None:
    with translation.override("de"):
        assert "7. März 2026" in describe_filters(RunFilters(created_after=AT))[0]
