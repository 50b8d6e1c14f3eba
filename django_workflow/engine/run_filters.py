"""Which runs a bulk action is for: filters as a value, as JSON in its row, and as a queryset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from ..exceptions import RunTimeout
from ..models import Run, RunQuerySet, StepRun, Workflow
from ..retry import type_name
from ..status import FINAL_RUN, RunStatus, StepStatus
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


def _of_workflow(runs: RunQuerySet, name: str) -> RunQuerySet:
    # By its key: how many runs that workflow has is known only so, and may be very few.
    keys = Workflow.objects.using(runs.db).filter(name=name).values_list("pk", flat=True)
    return runs.filter(workflow__in=list(keys))


def _with_failed_steps(runs: RunQuerySet, _yes: bool) -> RunQuerySet:
    passed_over = StepRun.objects.using(runs.db).passed_over()
    return runs.filter(status=RunStatus.DONE, pk__in=passed_over.order_by().values("run"))


def _in_status(runs: RunQuerySet, statuses: tuple[str, ...]) -> RunQuerySet:
    # By the index of what is active, where these are all of it.
    return runs.active() if set(statuses) == ACTIVE else runs.filter(status__in=statuses)


def _with_error(runs: RunQuerySet, name: str) -> RunQuerySet:
    classes = Q(error_type=name) | Q(error_type__endswith=f".{name}")
    if connections[runs.db].features.supports_partial_indexes:
        classes = Q(error_type__in=list(_classes(runs.db, name)))
    return runs.filter(classes, IS_ERROR)


def _classes(using: str, name: str) -> Iterator[str]:
    """Yield the error classes that ``name`` means: no index finds the end of a text.

    One step in the index for each class that there is: it costs the same however many runs failed by it.
    """
    rows = Run.objects.using(using).filter(IS_ERROR).order_by("error_type")
    known = rows.values_list("error_type", flat=True)
    error = known.first()
    while error is not None:
        if f".{error}".endswith(f".{name}"):
            yield error
        error = known.filter(error_type__gt=error).first()


def _about(runs: RunQuerySet, subject: str) -> RunQuerySet:
    label, _colon, key = subject.partition(":")
    return runs.filter(~Q(subject_type=""), subject_type=label, subject_id=key)


def _is_at(runs: RunQuerySet, step: str) -> RunQuerySet:
    rows = StepRun.objects.using(runs.db).current().filter(step=step).order_by()
    failed = rows.filter(status=StepStatus.FAILED)
    return runs.filter(pk__in=rows.live().values("run").union(failed.values("run")))


def _stopped_at(runs: RunQuerySet, step: str) -> RunQuerySet:
    """Look only at the runs in which the step failed, and at those that ended without a failed step."""
    failed = StepRun.objects.using(runs.db).current().filter(status=StepStatus.FAILED, step=step)
    overdue = Run.objects.using(runs.db).filter(IS_ERROR, error_type=OVERDUE, step=step)
    found = failed.order_by().values("run").union(overdue.order_by().values("pk"))
    return runs.filter(pk__in=found).alias(stop=failed_step(runs.db)).filter(stop=step)


def _ended_after(runs: RunQuerySet, moment: datetime) -> RunQuerySet:
    # The index begins with the status.
    return runs.filter(status__in=FINAL_RUN, finished_at__gte=moment)


# As the condition of an index has it.
IS_ERROR = ~Q(error_type="")
OVERDUE = type_name(RunTimeout)
MOMENTS = ("created_before", "created_after", "finished_after")
ACTIVE = frozenset(RunStatus) - FINAL_RUN
_BY_NAME: Mapping[str, Callable[[RunQuerySet, Any], RunQuerySet]] = {
    "workflow": _of_workflow,
    "status": _in_status,
    "is_unresolved": lambda runs, _yes: runs.unresolved(),
    "has_failed_steps": _with_failed_steps,
    "error": _with_error,
    "step": _is_at,
    "stopped_at": _stopped_at,
    "key": lambda runs, key: runs.filter(key=key),
    "search": lambda runs, text: runs.search(text),
    "about": _about,
    "created_before": lambda runs, moment: runs.filter(created_at__lt=moment),
    "created_after": lambda runs, moment: runs.filter(created_at__gte=moment),
    "finished_after": _ended_after,
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
