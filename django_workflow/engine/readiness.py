"""Which steps may start: decided from the rows of what they need. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..definition.graph import Graph
from ..status import StepStatus
from .moves import Jumps, StepState

Rows = Mapping[str, StepState]


def names_to_know(graph: Graph, dependents: Iterable[str]) -> frozenset[str]:
    """Return the steps whose current rows decide whether ``dependents`` may start."""
    known: set[str] = set()
    for name in dependents:
        known.add(name)
        for need in graph.needs[name]:
            known.add(need)
            known |= graph.ancestors_on_path.get(need, frozenset())
    return frozenset(known)


def can_start(graph: Graph, name: str, rows: Rows, jumps: Jumps) -> bool:
    """Return whether the step ``name`` is ready by its needs and has no row of the current visit."""
    if name in rows:
        return False
    needs = graph.needs[name]
    if not needs or (name in graph.jump_only and not any(need in rows for need in needs)):
        return False
    began_anew = _begun_anew_with(graph, name, jumps)
    # What ended before the jump counts as finished and fires no "any" again; what is to come is waited for.
    fire = [need for need in needs if began_anew is None or need in began_anew]
    if graph.steps[name].join == "any" and any(_is_done(rows.get(need)) for need in fire):
        return True
    return not any(_is_to_come(graph, need, rows) for need in needs)


def ready_steps(graph: Graph, rows: Rows, jumps: Jumps) -> list[str]:
    """Return every step that may start by ``rows``, the current rows of the whole run, in list order."""
    begun = [name for name in graph.starts if name not in rows]
    return [name for name in graph.steps if name in begun or can_start(graph, name, rows, jumps)]


def _begun_anew_with(graph: Graph, name: str, jumps: Jumps) -> frozenset[str] | None:
    """Return the steps that began a new visit together with ``name``, in the latest jump that reset it."""
    latest = max(
        ((number, target) for target, number in jumps.entered.items() if name in graph.region(target)),
        default=None,
    )
    return None if latest is None else graph.region(latest[1])


def _is_done(row: StepState | None) -> bool:
    if row is None:
        return False
    return row.status == StepStatus.DONE or (row.status == StepStatus.SKIPPED and row.handled)


def _is_to_come(graph: Graph, need: str, rows: Rows) -> bool:
    row = rows.get(need)
    if row is not None:
        return row.is_live
    path = graph.ancestors_on_path.get(need)
    return path is None or any(name in rows for name in path)
