"""The pictures of one run: its graph with how each step stands, and its timeline."""

from __future__ import annotations

from ..insight.facts import RunFacts


def draw_run_graph(facts: RunFacts) -> str:
    """Return the steps of the run's version as a graph; an empty text where there is none to draw."""
    return ""


def draw_run_timeline(facts: RunFacts) -> str:
    """Return the latest step runs as bars over time; an empty text where nothing has begun."""
    return ""
