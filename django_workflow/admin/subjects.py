"""Runs on the pages of a project's own models: those about a row, and an action that starts one for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import NoReverseMatch
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ..insight.facts import BIG_OF_RUN
from ..insight.spans import seconds_taken
from ..insight.taking import find_taking
from ..models import Run, Workflow
from ..references import key_of
from .allowed import is_allowed
from .links import Link, list_url, row_url
from .pages import LooksMixin
from .subject_action import ACTION, run_workflow
from .trigger_form import BEFORE

if TYPE_CHECKING:
    Mixed = admin.ModelAdmin[Any]
else:
    Mixed = object

SHOWN = 10
FIELD = "workflow_runs"
# Where a row keeps what its page shows for this user: a method that shows a field is told no request.
STARTS = "_workflow_starts"
# Where a request keeps whether a workflow takes rows of the model that it is about.
TAKEN = "_workflow_takes_rows"


class WorkflowSubjectMixin(LooksMixin, Mixed):
    """For the ``ModelAdmin`` of any model: its runs on the page of a row, and an action on its list.

    Runs are shown to who may see runs; the action is there for who may trigger workflows, when one is
    published whose declared input takes a row of this model.
    """

    @admin.display(description=gettext_lazy("latest runs"))
    def workflow_runs(self, row: Model) -> str:
        """Return the latest runs about ``row`` as a table, and the workflows that may be started for it."""
        runs = Run.objects.about(row).select_related("workflow").defer(*BIG_OF_RUN).order_by("-pk")
        shown = list(runs[: SHOWN + 1])
        has_pages, now = self.admin_site.is_registered(Run), timezone.now()
        about = f"{row._meta.label_lower}:{key_of(row)}"
        values = {
            "rows": [
                (
                    run,
                    seconds_taken(run.started_at, run.finished_at or now),
                    row_url(self.admin_site, run) if has_pages else "",
                )
                for run in shown[:SHOWN]
            ],
            "all_url": list_url(self.admin_site, Run, about=about) if len(shown) > SHOWN else "",
            "starts": list(getattr(row, STARTS, tuple)()),
        }
        return render_to_string("admin/django_workflow/subject_runs.html", values)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own fields, and the runs behind them."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not is_allowed(request, "view_run"):
            return fieldsets
        setattr(obj, STARTS, partial(self._starts, request, obj))
        return [*fieldsets, (gettext_lazy("Workflow runs"), {"fields": (FIELD,)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own, and the runs."""
        return (*super().get_readonly_fields(request, obj), FIELD)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own fields: the runs have a part of the page for themselves."""
        return [name for name in super().get_fields(request, obj) if name != FIELD]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the model's own actions, and that of running a workflow where one takes such rows."""
        # Django 6.1 has actions on the page of a row too, and says which are asked for.
        place = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **place)
        is_list = action_location is None or action_location.name == "CHANGE_LIST"
        has_actions = self.actions is not None and IS_POPUP_VAR not in request.GET
        if is_list and has_actions and is_allowed(request, "trigger_workflow") and self._is_taken(request):
            actions[ACTION] = self.get_action(run_workflow)
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Return the list. Raises ``PermissionDenied`` for the action, sent by who may not."""
        if ACTION in request.POST.getlist("action") and not is_allowed(request, "trigger_workflow"):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    def _is_taken(self, request: HttpRequest) -> bool:
        """Say whether a workflow takes rows of this model; asked once a request."""
        if not hasattr(request, TAKEN):
            setattr(request, TAKEN, bool(find_taking(self.model)))
        return bool(getattr(request, TAKEN))

    def _starts(self, request: HttpRequest, row: Model) -> Iterator[Link]:
        """Yield the forms that start a run, with the row filled in."""
        if not (self.admin_site.is_registered(Workflow) and is_allowed(request, "trigger_workflow")):
            return
        for taking in find_taking(type(row)):
            try:
                url = row_url(self.admin_site, Workflow(pk=taking.pk), "trigger")
            except NoReverseMatch:
                continue  # The project's own ModelAdmin of workflows may be without that page.
            query = urlencode({f"{BEFORE}{taking.field}": key_of(row)})
            yield Link(url=f"{url}?{query}", label=f"{taking.name} ({taking.field})")
