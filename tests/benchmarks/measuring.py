"""Timing that holds on a noisy machine: the candidates take turns, and medians and ratios are printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def go_at_once(name: str) -> None:
    """Leave no pause before a turn."""


def take_turns(
    candidates: Mapping[str, Callable[[], int]],
    rounds: int,
    *,
    before: Callable[[str], None] = go_at_once,
) -> dict[str, float]:
    """Call each candidate once a round, after a warm-up; return the median of what it did per second, by
    name.

    ``before`` is called with the name before each turn, out of the measured time.
    """
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for place in range(rounds + 1):
        for name, candidate in candidates.items():
            before(name)
            begun = time.perf_counter()
            count = candidate()
            if place:
                rates[name].append(count / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in rates.items()}


def format_table(title: str, figures: Mapping[str, float], *, beside: str, unit: str) -> str:
    """Return a table of figures with their ratio to that of ``beside``, or of the first without that one."""
    beside = beside if beside in figures else next(iter(figures))
    width = max(map(len, figures))
    lines = [
        f"  {name:<{width}}  {_format(figure):>10} {unit}  {figure / figures[beside]:>6.2f}"
        for name, figure in figures.items()
    ]
    return "\n".join([f"{title} (last column: ratio to {beside})", *lines])


def _format(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
