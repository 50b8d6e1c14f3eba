"""Which runs a bulk action is for: filters as a value, as JSON in its row, and as a queryset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q

from ..models import Run, RunQuerySet, StepRun
from ..status import LIVE_STEP, RunStatus, StepStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilters:
    """What runs have in common. What is left out is not asked for; all that is given must hold.

    ``error`` is the name of an error class, bare or dotted; ``step`` the name of a step that the run is at,
    or failed at. ``created_before`` and ``created_after`` are aware moments. Raises ``ValueError`` for a
    status that there is not.
    """

    workflow: str = ""
    status: tuple[str, ...] = ()
    error: str = ""
    step: str = ""
    key: str = ""
    created_before: datetime | None = None
    created_after: datetime | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.status) - set(RunStatus.values))
        if unknown:
            raise ValueError(f"no run has the status {unknown[0]!r}; known are {', '.join(RunStatus.values)}")

    @property
    def is_empty(self) -> bool:
        """Whether every run fits."""
        return not self.as_json()

    def as_json(self) -> dict[str, Any]:
        """Return what a row keeps of the filters: those that are given."""
        given = {name: value for name, value in asdict(self).items() if value}
        return {name: _plain(value) for name, value in given.items()}


def read_filters(data: Mapping[str, Any]) -> RunFilters:
    """Return the filters that ``as_json`` gave. Raises ``ValueError`` for a filter that there is not."""
    known = [each.name for each in fields(RunFilters)]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no filter; known are {', '.join(known)}")
    values: dict[str, Any] = {**data, "status": tuple(data.get("status", ()))}
    for name in ("created_before", "created_after"):
        if name in data:
            values[name] = datetime.fromisoformat(data[name])
    return RunFilters(**values)


def select_runs(using: str, filters: RunFilters) -> RunQuerySet:
    """Return the runs that fit, in no order."""
    runs = Run.objects.using(using)
    if filters.workflow:
        runs = runs.filter(workflow__name=filters.workflow)
    if filters.status:
        runs = runs.filter(status__in=filters.status)
    if filters.error:
        runs = runs.filter(Q(error_type=filters.error) | Q(error_type__endswith=f".{filters.error}"))
    if filters.key:
        runs = runs.filter(key=filters.key)
    if filters.created_before is not None:
        runs = runs.filter(created_at__lt=filters.created_before)
    if filters.created_after is not None:
        runs = runs.filter(created_at__gte=filters.created_after)
    return runs.filter(_is_at(using, filters.step)) if filters.step else runs


def _is_at(using: str, step: str) -> Exists:
    rows = StepRun.objects.using(using).current().filter(run=OuterRef("pk"), step=step)
    return Exists(rows.filter(status__in=(*LIVE_STEP, StepStatus.FAILED)))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
