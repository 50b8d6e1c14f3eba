"""The naive model's ``for_each``: items side by side, and what the end of one does to the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.rows import Row

if TYPE_CHECKING:
    from tests.reference.flow import FlowRun


def spread(run: FlowRun, row: Row, count: int) -> None:
    """Let the step wait for its items; what an earlier attempt has left of them is its output."""
    left = run.paths.items(row.step)
    if left or not count:
        _close(run, row, left)
        return
    row.wait("items")
    items = [Row(row.step, row.visit, row.began, row.by_jump, index=index) for index in range(count)]
    share_slots(run, items)
    for item in items:
        run.paths.add(item)


def share_slots(run: FlowRun, items: list[Row]) -> None:
    """Let those wait that are more than ``max_parallel``."""
    most = run.paths.steps[items[0].step].max_parallel if items else None
    for item in items[most:] if most else ():
        item.wait("slot")


def end_item(run: FlowRun, row: Row, action: str) -> None:
    """Stop the others where ``row`` failed for all of them, set the next free, or end the whole step."""
    step, items = run.paths.current[row.step], run.paths.items(row.step)
    if row.status == "failed" and not row.is_handled and step.stop is None:
        step.stop = (action, row.error)
        for item in items:
            if item.status in ("pending", "waiting"):
                item.close("cancelled")
    live = [item for item in items if not item.is_final]
    held_back = [item for item in live if item.waiting_for == "slot"]
    if held_back:
        held_back[0].close("pending")
    elif not live:
        _close(run, step, items)


def _close(run: FlowRun, step: Row, items: list[Row]) -> None:
    step.number = run.paths.number
    if step.stop is None:
        step.close("done")
        step.output = [item.output for item in items]
        run.follow(step, run.paths.steps[step.step].next or "continue")
        return
    action, step.error = step.stop
    step.close("failed")
    step.is_handled = action != "fail"
    run.follow(step, action)
