"""The pictures of one run: its graph with how each step stands, and its timeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _

from ..definition.outline import Outline
from ..insight.facts import RunFacts
from ..insight.layers import arrange
from ..insight.spans import show_span
from ..models import StepRun
from ..registry import get_handler
from ..status import LIVE_STEP, StepStatus
from .pictures.bars import Bar
from .pictures.graph import MOST_STEPS, Box, draw_graph
from .pictures.timeline import draw_timeline

# The address that opens a step run.
Url = Callable[[UUID], str]
SLEEP = "flow.sleep"


def draw_run_graph(facts: RunFacts, url: Url) -> str:
    """Return the steps of the run's version as a graph; an empty text where there is none to draw."""
    if facts.program is None or len(facts.program.graph.steps) > MOST_STEPS:
        return ""
    outline, graph = Outline(facts.program.spec, get_handler), facts.program.graph
    jumps = {name: outline.targets(name) for name in graph.steps}
    boxes = {name: _box(name, facts, url) for name in graph.steps}
    return draw_graph(arrange(graph, jumps), boxes)


def draw_run_timeline(facts: RunFacts, url: Url) -> str:
    """Return the latest step runs as bars over time; an empty text where nothing has begun."""
    rows = [(row, began) for row in facts.latest if (began := _began(row)) is not None]
    if not rows:
        return ""
    return draw_timeline([_bar(row, began, facts, url) for row, began in rows], now=facts.now)


def _box(name: str, facts: RunFacts, url: Url) -> Box:
    assert facts.program is not None
    row, spec = facts.current.get(name), facts.program.graph.steps[name]
    if row is None:
        return Box(label=name, type=spec.type)
    return Box(label=name, type=spec.type, status=row.status, note=_note(row, facts), url=url(row.pk))


def _note(row: StepRun, facts: RunFacts) -> str:
    items = [each for each in facts.latest if each.step == row.step and each.index >= 0 and each.current]
    if items and not facts.has_more:
        ended = sum(each.finished_at is not None for each in items)
        return _("%(ended)d of %(total)d") % {"ended": ended, "total": len(items)}
    if row.visit > 1:
        return _("visit %d") % row.visit
    return _("attempt %d") % row.attempt if row.attempt > 1 else ""


def _began(row: StepRun) -> datetime | None:
    """Return when a step run began, or began to wait; None for one that was passed by."""
    return row.started_at or (row.created_at if row.status in LIVE_STEP else None)


def _bar(row: StepRun, began: datetime, facts: RunFacts, url: Url) -> Bar:
    return Bar(
        lane=str(row),
        label=_label(row, began),
        start=began,
        end=row.finished_at,
        status=row.status,
        is_work=_is_work(row, facts),
        url=url(row.pk),
    )


def _label(row: StepRun, began: datetime) -> str:
    """Return what stands beside the bar: how long it took, and which attempt it was."""
    if row.finished_at is None:
        return ""
    took = show_span((row.finished_at - began).total_seconds())
    return ", ".join([_("attempt %d") % row.attempt, took]) if row.attempt > 1 else took


def _is_work(row: StepRun, facts: RunFacts) -> bool:
    """Return whether something was worked at, and not only waited for."""
    if row.started_at is None or row.status == StepStatus.WAITING or row.awaits is not None:
        return False
    spec = None if facts.program is None else facts.program.steps.get(row.step)
    is_map = spec is not None and spec.for_each is not None and row.index < 0
    return spec is None or not (is_map or spec.type == SLEEP)
