"""What a restart takes over from the run before: step runs, the state they left, the jumps (rule 30)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..definition.graph import Graph
from ..models import Run, StepRun
from ..models.fresh import make
from ..models.keys import uuid7
from ..status import StepStatus
from .moves import Jumps
from .rows import LEADS_TO

# Of a copy: what belongs to the row itself, and what only a live one has.
OWN = frozenset({"id", "run_id", "event", "awaits", "due_at", "lease_token", "lease_until", "undoes_id"})


def copied_rows(old: Run, new: Run, graph: Graph, region: Collection[str], using: str) -> list[StepRun]:
    """Return copies, for ``new``, of the current rows of each step that ended well outside of ``region``.

    With their items. A failure that ``on_error`` met counts as well: the run had gone on from there.
    """
    rows = StepRun.objects.using(using).current().filter(run=old, undoes=None).order_by("id")
    rows = rows.filter(step__in=[name for name in graph.steps if name not in region])
    current = list(rows)
    kept = {row.step for row in current if row.index == -1 and _ended_well(row)}
    return [_copy(row, new, graph) for row in current if row.step in kept]


def replay(state: Mapping[str, Any], rows: Sequence[StepRun]) -> dict[str, Any]:
    """Return the state that ``rows`` left, which began as ``state``; all of it encoded."""
    replayed = dict(state)
    changes = [
        ((row.written_at or {}).get(key, row.number or 0), key, value)
        for row in rows
        for key, value in (row.state_changes or {}).items()
    ]
    for _number, key, value in sorted(changes, key=lambda each: each[0]):
        if value == {"$deleted": True}:
            replayed.pop(key, None)
        else:
            replayed[key] = value
    return replayed


def rest_of_jumps(old: Run, graph: Graph, region: Collection[str]) -> Jumps | None:
    """Return what the jumps of the run before left behind outside of ``region``."""
    if old.jumps is None:
        return None
    jumps = Jumps(**old.jumps)
    names = [name for name in graph.steps if name not in region]
    led_here = jumps.error
    return Jumps(
        entered={name: jumps.entered[name] for name in names if name in jumps.entered},
        visits={name: jumps.visits[name] for name in names if name in jumps.visits},
        error=None if led_here is None or led_here["step"] in region else led_here,
    )


def _ended_well(row: StepRun) -> bool:
    is_over = row.status in (StepStatus.DONE, StepStatus.SKIPPED)
    return is_over or (row.status == StepStatus.FAILED and row.handled)


def _copy(row: StepRun, new: Run, graph: Graph) -> StepRun:
    names = [field.attname for field in StepRun._meta.concrete_fields if field.attname not in OWN]
    values = {name: getattr(row, name) for name in names}
    if row.event is not None and row.event.get("name") == LEADS_TO and row.event["payload"] in graph.steps:
        values["event"] = row.event
    copy = make(StepRun, id=uuid7(), run_id=new.pk, **values)
    copy.run = new
    return copy
