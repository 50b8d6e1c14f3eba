"""Which runs a bulk action is for: filters as a value, as JSON in its row, and as a queryset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from ..models import Run, RunQuerySet, StepRun
from ..status import FINAL_RUN, LIVE_STEP, RunStatus, StepStatus
from ..storable import is_storable_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilters:
    """What runs have in common. What is left out is not asked for; all that is given must hold.

    ``error`` is the name of an error class, bare or dotted; ``step`` the name of a step that the run is at,
    or failed at, and ``stopped_at`` that of the one whose failure ended it. ``search`` is the beginning of an
    id or a key, or the key of a subject; ``about`` a subject, as ``app.model:key``. ``is_unresolved``:
    failed, and nobody has put it right; ``has_failed_steps``: done, though steps failed. Moments are aware.
    Raises ``ValueError`` for a status that there is not, and for text that no database takes.
    """

    workflow: str = ""
    status: tuple[str, ...] = ()
    is_unresolved: bool = False
    has_failed_steps: bool = False
    error: str = ""
    step: str = ""
    stopped_at: str = ""
    key: str = ""
    search: str = ""
    about: str = ""
    created_before: datetime | None = None
    created_after: datetime | None = None
    finished_after: datetime | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.status) - set(RunStatus.values))
        if unknown:
            raise ValueError(f"no run has the status {unknown[0]!r}; known are {', '.join(RunStatus.values)}")
        for name, value in asdict(self).items():
            if isinstance(value, str) and not is_storable_text(value):
                raise ValueError(
                    f"the filter {name} has a NUL or a lone surrogate, and no run has: {value!r:.80}"
                )

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
    for name in MOMENTS:
        if name in data:
            values[name] = datetime.fromisoformat(data[name])
    return RunFilters(**values)


def select_runs(using: str, filters: RunFilters) -> RunQuerySet:
    """Return the runs that fit, in no order."""
    return narrow(Run.objects.using(using), filters)


def narrow(runs: RunQuerySet, filters: RunFilters) -> RunQuerySet:
    """Return those of ``runs`` that fit."""
    for name, apply in _BY_NAME.items():
        value = getattr(filters, name)
        if value:
            runs = apply(runs, value)
    return runs


def failed_step(using: str) -> Coalesce:
    """Return the name of the step whose failure ended a run, else that of its last step, as an expression."""
    rows = StepRun.objects.using(using).current().filter(run=OuterRef("pk"), index=-1, handled=False)
    failed = rows.filter(status=StepStatus.FAILED).order_by("number")
    return Coalesce(Subquery(failed.values("step")[:1]), "step")


def _with_failed_steps(runs: RunQuerySet, _yes: bool) -> RunQuerySet:
    passed_over = StepRun.objects.using(runs.db).passed_over()
    return runs.filter(status=RunStatus.DONE, pk__in=passed_over.order_by().values("run"))


def _in_status(runs: RunQuerySet, statuses: tuple[str, ...]) -> RunQuerySet:
    # By the index of what is active, where these are all of it.
    return runs.active() if set(statuses) == ACTIVE else runs.filter(status__in=statuses)


def _with_error(runs: RunQuerySet, name: str) -> RunQuerySet:
    return runs.filter(Q(error_type=name) | Q(error_type__endswith=f".{name}"))


def _about(runs: RunQuerySet, subject: str) -> RunQuerySet:
    label, _colon, key = subject.partition(":")
    return runs.filter(~Q(subject_type=""), subject_type=label, subject_id=key)


def _is_at(runs: RunQuerySet, step: str) -> RunQuerySet:
    rows = StepRun.objects.using(runs.db).current().filter(run=OuterRef("pk"), step=step)
    return runs.filter(Exists(rows.filter(status__in=(*LIVE_STEP, StepStatus.FAILED))))


MOMENTS = ("created_before", "created_after", "finished_after")
ACTIVE = frozenset(RunStatus) - FINAL_RUN
_BY_NAME: Mapping[str, Callable[[RunQuerySet, Any], RunQuerySet]] = {
    "workflow": lambda runs, name: runs.filter(workflow__name=name),
    "status": _in_status,
    "is_unresolved": lambda runs, _yes: runs.unresolved(),
    "has_failed_steps": _with_failed_steps,
    "error": _with_error,
    "step": _is_at,
    "stopped_at": lambda runs, step: runs.alias(stop=failed_step(runs.db)).filter(stop=step),
    "key": lambda runs, key: runs.filter(key=key),
    "search": lambda runs, text: runs.search(text),
    "about": _about,
    "created_before": lambda runs, moment: runs.filter(created_at__lt=moment),
    "created_after": lambda runs, moment: runs.filter(created_at__gte=moment),
    "finished_after": lambda runs, moment: runs.filter(finished_at__gte=moment),
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
