"""Filters of runs, in words."""

from __future__ import annotations

from ..engine.run_filters import RunFilters


def describe_filters(filters: RunFilters) -> list[str]:
    """Return what runs have in common, a phrase for each filter."""
    return [f"{name}: {value}" for name, value in filters.as_json().items()]
