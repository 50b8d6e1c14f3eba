"""Jumps from one step to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ..definition.graph import Graph
from .moves import Erred, Jumps, Plan, RunState, StepState
from .new_rows import first_row, skipped_row


def rows_for_jump(graph: Graph, step: str, target: str) -> frozenset[str]:
    """Return the steps whose current rows decide what a jump from ``step`` to ``target`` changes."""
    return graph.region(target) | graph.after(step)


def plan_jump(
    graph: Graph,
    run: RunState,
    step: StepState,
    target: str,
    *,
    rows: Mapping[str, StepState],
    error: Erred | None,
    now: datetime,
) -> Plan:
    """Return what a jump from ``step`` to ``target`` changes; ``rows`` hold ``step`` as recorded.

    What comes after ``step`` but not after the target, and has not started, is skipped; the target and all
    that comes after it begin a new visit. Where another jump entered the target meanwhile, the jump only ends
    its branch.
    """
    region = graph.region(target)
    after = graph.after(step.step)
    passed_by = [name for name in graph.steps if name in after and name not in region] if after else []
    skip = tuple(name for name in passed_by if name in rows and rows[name].is_live and not rows[name].started)
    skipped = tuple(skipped_row(graph, run, name, now) for name in passed_by if name not in rows)
    if _was_entered_meanwhile(run, step, rows.get(target), target):
        return Plan(skip=skip, create=skipped)
    jumps = _jumps_after(run, rows, region, target, step, error)
    return Plan(
        skip=skip,
        retire=frozenset(name for name in region if name in rows),
        jumps=jumps,
        create=(first_row(graph, replace(run, jumps=jumps), target, now), *skipped),
    )


def _was_entered_meanwhile(run: RunState, step: StepState, row: StepState | None, target: str) -> bool:
    return run.jumps.entered.get(target, -1) > step.began and row is not None and row.is_live


def _jumps_after(
    run: RunState,
    rows: Mapping[str, StepState],
    region: frozenset[str],
    target: str,
    step: StepState,
    error: Erred | None,
) -> Jumps:
    kept = {name: number for name, number in run.jumps.entered.items() if name not in region}
    visited = {name: rows[name].visit for name in region if name in rows}
    led_here = (
        run.jumps.error
        if error is None
        else {"type": error.type, "message": error.message, "step": step.step}
    )
    return Jumps(entered={**kept, target: run.number}, visits={**run.jumps.visits, **visited}, error=led_here)
