"""The list of workflows: who owns each, and how its latest runs went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..insight.figures import Figures, oldest_judged, read_figures
from ..insight.spans import show_span
from ..models import ManagedBy, Run, Workflow
from .links import list_url
from .pictures.strip import StripItem, draw_strip
from .pictures.words import count_statuses
from .read_only import LightChangeList, can_see
from .showing import NOTHING

if TYPE_CHECKING:
    Mixed = admin.ModelAdmin[Workflow]
else:
    Mixed = object

_OWNERS = {ManagedBy.STAFF: _("staff"), ManagedBy.CODE: _("code"), ManagedBy.FILE: _("file")}


class WorkflowChangeList(LightChangeList):
    """The list with the figures of each workflow on the page."""

    def get_queryset(self, request: HttpRequest, *args: Any, **options: Any) -> QuerySet[Model]:
        """Return the rows with how far back their runs are judged."""
        rows: QuerySet[Any] = super().get_queryset(request, *args, **options)
        annotated: QuerySet[Model] = rows.annotate(oldest_judged=oldest_judged(rows.db))
        return annotated

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and how the runs of its workflows went."""
        super().get_results(request)
        workflows: list[Workflow] = list(self.result_list)
        self.result_list = workflows
        figures = read_figures(workflows)
        site = self.model_admin.admin_site
        has_runs = can_see(site, Run, request)
        for workflow in workflows:
            workflow.figures = figures[workflow.pk]  # type: ignore[attr-defined]
            url = list_url(site, Run, workflow=workflow.name) if has_runs else ""
            workflow.runs_url = url  # type: ignore[attr-defined]


class WorkflowColumns(Mixed):
    """What each column says; none of them asks the database."""

    @admin.display(description=_("owner"), ordering="managed_by")
    def owner(self, workflow: Workflow) -> str:
        """Return who may write it; where a file does, which one is said by the title."""
        label = str(_OWNERS[ManagedBy(workflow.managed_by)])
        return format_html('<span title="{}">{}</span>', workflow.source or label, label)

    @admin.display(description=_("published"), ordering="published__number")
    def published_number(self, workflow: Workflow) -> int | str:
        """Return the number of the published version; a dash without one."""
        return workflow.published.number if workflow.published else NOTHING

    @admin.display(description=_("last runs"))
    def last_runs(self, workflow: Workflow) -> str:
        """Return the latest runs as a strip, and their counts, which lead to the list of its runs."""
        last = _figures(workflow).last
        if not last:
            return NOTHING
        strip = draw_strip(
            [
                StripItem(status=each.status, at=each.created_at, has_failed_steps=each.is_done_in_part)
                for each in last
            ]
        )
        words = count_statuses(each.status for each in last)
        url = getattr(workflow, "runs_url", "")
        text: SafeString | str = format_html('<a href="{}">{}</a>', url, words) if url else words
        return format_html('<span class="workflow-last">{} {}</span>', strip, text)

    @admin.display(description=_("success"))
    def success(self, workflow: Workflow) -> str:
        """Return the share of the runs that ended well, and of how many of these steps failed."""
        figures = _figures(workflow)
        if figures.success is None:
            return NOTHING
        share, count = f"{round(figures.success * 100)} %", figures.done_in_part
        text = ngettext("%d of them though steps failed", "%d of them though steps failed", count) % count
        return f"{share}, {text}" if count else share

    @admin.display(description=_("median"))
    def median(self, workflow: Workflow) -> str:
        """Return how long a run takes."""
        return _span(_figures(workflow).median)

    @admin.display(description=_("p95"))
    def p95(self, workflow: Workflow) -> str:
        """Return how long nineteen of twenty runs take at most."""
        return _span(_figures(workflow).p95)


def _figures(workflow: Workflow) -> Figures:
    figures: Figures = getattr(workflow, "figures", Figures())
    return figures


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else show_span(seconds)
