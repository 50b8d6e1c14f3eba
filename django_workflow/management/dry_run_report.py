"""A dry run as the command shows it: one line for each step, and how it would end."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine.dry.report import DryRun, DryStep
from .run_report import cut, show_value

# Of more items only those that fail have a line.
SHOWN_ITEMS = 5


def describe_dry_run(found: DryRun) -> Iterator[str]:
    """Yield what is odd about the dry run, then the line of each step that it came to."""
    yield from (f"note: {text}" for text in found.problems)
    names = max((len(each.label) for each in found.steps), default=0)
    types = max((len(each.type) for each in found.steps), default=0)
    left_out = 0
    for each in found.steps:
        if each.index >= SHOWN_ITEMS and each.status != "failed":
            left_out += 1
            continue
        if each.index < 0 and left_out:
            yield f"{each.step}: {left_out:,} more items, not shown"
            left_out = 0
        yield f"{each.label:<{names}}  {each.type:<{types}}  {'; '.join(_parts(each))}".rstrip()


def describe_dry_end(found: DryRun) -> str:
    """Return where the dry run stopped and how to go on, or how the run would end."""
    if found.status == "done":
        return "would end as done" + ("" if found.output is None else f": {show_value(found.output)}")
    if found.status == "failed":
        last = next((each for each in reversed(found.steps) if each.status == "failed"), None)
        step = "" if last is None else f" at {last.label}"
        return f"would end as failed{step}: {cut(f'{found.error_type}: {found.error}')}"
    return "\n".join(_describe_stop(found, name) for name in found.missing)


def _describe_stop(found: DryRun, name: str) -> str:
    step = next(each for each in reversed(found.steps) if each.step == name and each.index < 0)
    given = "" if step.params is None else f" (params: {show_value(step.params)})"
    return f"stopped at {name}: {step.note or step.error}{given}"


def _parts(step: DryStep) -> Iterator[str]:
    if step.visit > 1:
        yield f"visit {step.visit}"
    if step.params:
        yield show_value(step.params)
    if step.status in ("skipped", "stopped"):
        yield f"{step.status}: {step.note}"
        return
    if step.note:
        yield step.note
    if step.status == "failed":
        yield cut(f"failed: {step.error_type}: {step.error}" if step.error_type else f"failed: {step.error}")
    elif step.output is not None:
        yield f"→ {show_value(step.output)}"
