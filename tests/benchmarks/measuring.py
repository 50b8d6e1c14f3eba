"""Timing that holds on a noisy machine: the candidates take turns, and medians and ratios are printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def take_turns(candidates: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Call each candidate once a round, after a warm-up; return the median of what it did per second, by
    name."""
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for place in range(rounds + 1):
        for name, candidate in candidates.items():
            begun = time.perf_counter()
            count = candidate()
            if place:
                rates[name].append(count / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in rates.items()}


def format_table(title: str, rates: Mapping[str, float], *, beside: str, unit: str) -> str:
    """Return a table of rates with their ratio to that of ``beside``."""
    width = max(map(len, rates))
    lines = [
        f"  {name:<{width}}  {rate:>10,.0f} {unit}  {rate / rates[beside]:>6.2f}"
        for name, rate in rates.items()
    ]
    return "\n".join([f"{title} (last column: ratio to {beside})", *lines])
