"""The failures that nobody has put right: what went wrong where, how often, and the way to its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from ..insight.failures import MOST_COUNTED, MOST_GROUPS, FailureGroup, add_messages, find_failures
from ..insight.passed_over import find_passed_over
from ..models import Failure, Run
from .allowed import is_allowed
from .links import list_url
from .pages import PageAdminMixin, render_page
from .run_list import WINDOWS
from .step_runs import SEE_PAYLOAD
from .verbs import CONTROL

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    ModelAdmin = admin.ModelAdmin[Failure]
else:
    ModelAdmin = admin.ModelAdmin

MOST_SHOWN = 100
UNRESOLVED, PASSED_OVER = "unresolved", "passed_over"
# The windows that are counted; all of them are looked at where none is chosen.
COUNTED = {name: WINDOWS[name][0] for name in ("1h", "24h", "7d")}
LONGEST = "7d"
NEWEST, MOST = "newest", "most"
ORDERS = {NEWEST: _("the newest first"), MOST: _("the most in 24 hours first")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A group as a line of the table, with each window's count, the way to its runs, and to their retry."""

    group: FailureGroup
    counts: Sequence[tuple[_StrPromise, int, str]]
    retry_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several ways to see the page."""

    label: _StrPromise
    url: str
    is_chosen: bool


class FailureAdminMixin(PageAdminMixin):
    """What the page of failures does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        window = _chosen(request, "window", COUNTED, LONGEST)
        order = _chosen(request, "order", ORDERS, NEWEST)
        now = timezone.now()
        found = find_failures(now, within=WINDOWS[window][1])
        groups = list(found.groups)
        if order == MOST:
            groups.sort(key=lambda group: group.in_day, reverse=True)
        shown = groups[:MOST_SHOWN]
        if is_allowed(request, SEE_PAYLOAD):
            shown = add_messages(shown)
        may_retry = is_allowed(request, CONTROL)
        context = {
            "rows": [_row(self.admin_site, group, window if may_retry else "") for group in shown],
            "window": COUNTED[window],
            "counted": COUNTED.values(),
            "windows": _choices(COUNTED, window, "window", order=order),
            "orders": _choices(ORDERS, order, "order", window=window),
            "more": len(groups) - len(shown),
            "has_more": len(groups) == MOST_GROUPS,
            "most": MOST_COUNTED,
            "counted_since": found.counted_since,
            "may_retry": may_retry,
            "all_url": list_url(self.admin_site, Run, state=UNRESOLVED),
            **self._show_passed_over(now, window),
        }
        return render_page(request, self, "failures.html", title=_("Failures"), **context)

    def _show_passed_over(self, now: datetime, window: str) -> dict[str, Any]:
        groups = find_passed_over(now, within=WINDOWS[window][1])
        shown = groups[:MOST_SHOWN]
        return {
            "passed_over": [_row(self.admin_site, group, "", state=PASSED_OVER) for group in shown],
            "more_passed_over": len(groups) - len(shown),
            "passed_over_url": list_url(self.admin_site, Run, state=PASSED_OVER),
        }


def _chosen(request: HttpRequest, name: str, choices: Mapping[str, object], otherwise: str) -> str:
    value = request.GET.get(name, "")
    return value if value in choices else otherwise


def _choices(labels: Mapping[str, _StrPromise], chosen: str, name: str, **others: str) -> list[Choice]:
    return [
        Choice(label=label, url=f"?{urlencode({**others, name: value})}", is_chosen=value == chosen)
        for value, label in labels.items()
    ]


def _row(site: AdminSite, group: FailureGroup, retry_window: str, *, state: str = UNRESOLVED) -> Row:
    counts = zip(COUNTED, (group.in_hour, group.in_day, group.in_week), strict=True)
    return Row(
        group=group,
        counts=[
            (COUNTED[window], count, list_url(site, Run, **_query(group, window, state)))
            for window, count in counts
        ],
        # Where a part is empty the filters would take in more than the group.
        retry_url=_retry_url(site, group, retry_window) if retry_window and group.is_named else "",
    )


def _retry_url(site: AdminSite, group: FailureGroup, window: str) -> str:
    try:
        url = reverse("admin:django_workflow_run_bulk", args=["retry"], current_app=site.name)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(_query(group, window, UNRESOLVED))}"


def _query(group: FailureGroup, window: str, state: str) -> dict[str, str]:
    """Return what the list of runs calls the runs of the group that ended in the window."""
    if state == PASSED_OVER:
        # The run itself has no error, and stopped nowhere.
        return {"state": state, "workflow": group.workflow, "step": group.step, "ended": window}
    given = {"workflow": group.workflow, "error": group.error_type, "stopped_at": group.step}
    return {"state": state, **{name: value for name, value in given.items() if value}, "ended": window}


class FailureAdmin(FailureAdminMixin, ModelAdmin):
    """The page of failures on the default site."""
