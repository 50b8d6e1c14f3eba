"""The list of runs: its filters are the engine's own, so that a bulk action is for just what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..engine.run_filters import ACTIVE, RunFilters, narrow
from ..insight.passed_over import read_failed_steps
from ..insight.progress import read_progress
from ..models import Run, Workflow
from ..models.row import count_up_to
from ..status import RunStatus
from .read_only import MOST_COUNTED, LightChangeList, show_count

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Given = Mapping[str, Any]

STATES: Mapping[str, tuple[_StrPromise, Given]] = {
    "active": (_("active"), {"status": tuple(sorted(ACTIVE))}),
    "waiting": (_("waiting"), {"status": (RunStatus.WAITING.value,)}),
    "paused": (_("paused"), {"status": (RunStatus.PAUSED.value,)}),
    "unresolved": (_("failed and unresolved"), {"is_unresolved": True}),
    "failed": (_("failed"), {"status": (RunStatus.FAILED.value,)}),
    "done": (_("done"), {"status": (RunStatus.DONE.value,)}),
    "passed_over": (_("done, though steps failed"), {"has_failed_steps": True}),
    "cancelled": (_("cancelled"), {"status": (RunStatus.CANCELLED.value,)}),
}
WINDOWS: Mapping[str, tuple[_StrPromise, timedelta]] = {
    "15m": (_("15 minutes"), timedelta(minutes=15)),
    "1h": (_("1 hour"), timedelta(hours=1)),
    "24h": (_("24 hours"), timedelta(days=1)),
    "7d": (_("7 days"), timedelta(days=7)),
    "30d": (_("30 days"), timedelta(days=30)),
}
# Of those that failed last, whose error classes are offered.
LOOKED_AT = 1000


def _since(window: str, now: datetime) -> datetime | None:
    return now - WINDOWS[window][1] if window in WINDOWS else None


# How each word of an address narrows the list.
READERS: Mapping[str, Callable[[str, datetime], Given]] = {
    "state": lambda value, now: STATES[value][1] if value in STATES else {},
    "workflow": lambda value, now: {"workflow": value},
    "since": lambda value, now: {"created_after": _since(value, now)},
    "ended": lambda value, now: {"finished_after": _since(value, now)},
    "error": lambda value, now: {"error": value},
    "stopped_at": lambda value, now: {"stopped_at": value},
    "step": lambda value, now: {"step": value},
    "about": lambda value, now: {"about": value},
    "q": lambda value, now: {"search": value.strip()},
}


def read_filters(given: QueryDict | Mapping[str, str], now: datetime) -> RunFilters:
    """Return the filters that an address names; what it does not know is left out."""
    values: dict[str, Any] = {}
    for name, read in READERS.items():
        # PostgreSQL takes no NUL in a text.
        value = given.get(name, "").replace("\0", "")
        if value:
            values |= read(value, now)
    return RunFilters(**values)


class RunListFilter(admin.SimpleListFilter):
    """A filter that narrows by the engine's own filters."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs that fit."""
        return self._narrow(queryset, self.value() or "")

    def get_facet_queryset(self, changelist: Any) -> dict[str, Any]:
        """Return how many runs each choice would leave; none is counted further than the list is."""
        runs = changelist.get_queryset(self.request, exclude_parameters=self.expected_parameters())
        return {
            f"{number}__c": show_count(count_up_to(self._narrow(runs, value), MOST_COUNTED))
            for number, (value, _label) in enumerate(self.lookup_choices)
        }

    def _narrow(self, runs: Any, value: str) -> QuerySet[Any]:
        return narrow(runs, read_filters({str(self.parameter_name): value}, timezone.now()))


class StateFilter(RunListFilter):
    """By what is to be done about them."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return [(name, label) for name, (label, _given) in STATES.items()]


class WorkflowFilter(RunListFilter):
    """By workflow; reads their names only."""

    title = _("workflow")
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the names of all workflows."""
        return [(name, name) for name in Workflow.objects.order_by("name").values_list("name", flat=True)]


class SinceFilter(RunListFilter):
    """By when they were triggered."""

    title = _("triggered within")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the windows."""
        return [(name, label) for name, (label, _length) in WINDOWS.items()]


class EndedFilter(SinceFilter):
    """By when they ended."""

    title = _("ended within")
    parameter_name = "ended"


class ErrorFilter(RunListFilter):
    """By error class, where failed runs are looked at."""

    title = _("error class")
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the classes of the latest failures, and the one asked for."""
        asked = request.GET.get("error", "")
        if request.GET.get("state") not in ("failed", "unresolved") and not asked:
            return []
        failed = Run.objects.filter(status=RunStatus.FAILED).order_by("-finished_at")
        names = {*failed.values_list("error_type", flat=True)[:LOOKED_AT], asked} - {""}
        return [(name, name.rpartition(".")[2]) for name in sorted(names)]


class GivenFilter(RunListFilter):
    """A filter that only a link gives: it is named while it holds, and can be taken away."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what is asked for."""
        asked = self.value()
        return [(asked, asked)] if asked else []


class StoppedAtFilter(GivenFilter):
    """By the step they stopped at."""

    title = _("stopped at")
    parameter_name = "stopped_at"


class StepFilter(GivenFilter):
    """By a step that they are at, or that failed."""

    title = _("at the step")
    parameter_name = "step"


class AboutFilter(GivenFilter):
    """By the row they are about."""

    title = _("about")
    parameter_name = "about"


FILTERS = (
    StateFilter,
    WorkflowFilter,
    SinceFilter,
    EndedFilter,
    ErrorFilter,
    StoppedAtFilter,
    StepFilter,
    AboutFilter,
)


class RunChangeList(LightChangeList):
    """The list with each run's progress, and the steps that failed though it is done."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, how far its runs are, and which steps they went on without."""
        super().get_results(request)
        runs: list[Run] = list(self.result_list)
        self.result_list = runs
        progress = read_progress(runs)
        failed_steps = read_failed_steps(runs)
        for run in runs:
            run.failed_steps = failed_steps.get(run.pk, ())  # type: ignore[attr-defined]
            run.progress = progress.get(run.pk)  # type: ignore[attr-defined]
