"""How far runs are: steps that have ended, of those of the main line."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Q

from ..definition.graph import Graph
from ..definition.reading import read_definition
from ..models import Run, StepRun, WorkflowVersion
from ..process import remembered
from ..status import StepStatus

_WELL = (StepStatus.DONE, StepStatus.SKIPPED)
ENDED = Q(status__in=_WELL) | Q(status=StepStatus.FAILED, handled=True)
# A version never changes. Beyond so many they are counted anew.
MOST_KNOWN = 10_000

_lengths: dict[UUID, int] = remembered({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """So many steps have ended, of so many; those that only a jump starts are not expected."""

    ended: int
    total: int


def read_progress(runs: Collection[Run]) -> dict[UUID, Progress]:
    """Return the progress of each run that has a version. One query, and one for versions not seen before."""
    if not runs:
        return {}
    using = next(iter(runs))._state.db
    rows = StepRun.objects.using(using).current().filter(run__in=[run.pk for run in runs], index=-1)
    ended = dict(rows.order_by().values_list("run_id").annotate(ended=Count("pk", filter=ENDED)))
    lengths = count_steps({run.version_id for run in runs if run.version_id}, using)
    return {
        run.pk: Progress(ended=min(ended.get(run.pk, 0), total), total=total)
        for run in runs
        if run.version_id is not None and (total := lengths.get(run.version_id)) is not None
    }


def count_progress(graph: Graph, current: Iterable[StepRun]) -> Progress:
    """Return the progress of a run whose ``current`` step runs, of steps themselves, are at hand."""
    ended = [
        row for row in current if row.status in _WELL or (row.status == StepStatus.FAILED and row.handled)
    ]
    total = _length(graph)
    return Progress(ended=min(len(ended), total), total=total)


def count_steps(versions: Iterable[UUID], using: str | None) -> dict[UUID, int]:
    """Return the number of main-line steps of each version."""
    wanted = set(versions)
    missing = wanted - _lengths.keys()
    if missing:
        if len(_lengths) > MOST_KNOWN:
            _lengths.clear()
            missing = wanted
        specs = WorkflowVersion.objects.using(using).filter(pk__in=missing).values_list("pk", "spec")
        _lengths.update({pk: _count(spec) for pk, spec in specs})
    return {pk: _lengths[pk] for pk in wanted if pk in _lengths}


def _count(spec: object) -> int:
    read, _problems = read_definition(spec)
    return _length(Graph(read.steps))


def _length(graph: Graph) -> int:
    return len(graph.steps) - len(graph.jump_only)
