"""Step runs in the admin: all of a run as a list, and each on a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..insight.spans import seconds_taken, show_span
from ..models import StepRun
from .allowed import is_allowed
from .pages import RowsMixin
from .read_only import CappedPaginator, LightChangeList, NeverDeletedMixin
from .showing import NOTHING, shorten_id, show_json, show_text

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[StepRun]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object

SEE_PAYLOAD = "view_run_payload"
PAYLOAD = ("shown_params", "shown_output", "shown_state_changes", "shown_item", "shown_event")
# An error and what was logged may quote values.
QUOTING = ("error", "shown_traceback", "shown_logs")
HIDDEN_PAYLOAD = _(
    "Input, state, params, outputs, error messages and logs are hidden: to see them needs "
    "django_workflow.view_run_payload."
)
# What an address says of a list that is of one run.
OF_RUN = "run__id__exact"
_PAYLOAD_COLUMNS = ("params", "output", "state_changes", "item", "event", "progress")


class StepRunTexts:
    """The columns of a step run that are more than their value."""

    @admin.display(description=_("item"))
    def shown_index(self, step_run: StepRun) -> str:
        """Return the number of the item; a dash for the step itself."""
        return str(step_run.index) if step_run.index >= 0 else NOTHING

    @admin.display(description=_("params"))
    def shown_params(self, step_run: StepRun) -> str:
        """Return the params the handler was called with."""
        return show_json(step_run.params)

    @admin.display(description=_("output"))
    def shown_output(self, step_run: StepRun) -> str:
        """Return what the handler returned."""
        return show_json(step_run.output)

    @admin.display(description=_("state changes"))
    def shown_state_changes(self, step_run: StepRun) -> str:
        """Return the keys of the state that the step wrote."""
        return show_json(step_run.state_changes or None)

    @admin.display(description=_("item's value"))
    def shown_item(self, step_run: StepRun) -> str:
        """Return the item of ``for_each``."""
        return show_json(step_run.item)

    @admin.display(description=_("event"))
    def shown_event(self, step_run: StepRun) -> str:
        """Return what woke the handler."""
        return show_json(step_run.event)

    @admin.display(description=_("traceback"))
    def shown_traceback(self, step_run: StepRun) -> str:
        """Return the traceback as it was."""
        return show_text(step_run.traceback)

    @admin.display(description=_("logs"))
    def shown_logs(self, step_run: StepRun) -> str:
        """Return the lines the handler logged."""
        return show_text("\n".join(map(str, step_run.logs or ())))

    @admin.display(description=_("duration"))
    def duration(self, step_run: StepRun) -> str:
        """Return how long the attempt took."""
        seconds = seconds_taken(step_run.started_at, step_run.finished_at)
        return NOTHING if seconds is None else show_span(seconds)


class StepRunAdminMixin(RowsMixin, StepRunTexts, NeverDeletedMixin, Mixed):
    """What the pages of step runs do; who may see runs sees their steps."""

    list_display = (
        "step",
        "run_id_short",
        "shown_index",
        "visit",
        "attempt",
        "status",
        "waiting_for",
        "created_at",
        "duration",
    )
    list_filter = ("status", "waiting_for")
    lookups_of_links = (OF_RUN,)
    list_defer = (*_PAYLOAD_COLUMNS, "error", "traceback", "logs")
    paginator = CappedPaginator
    show_full_result_count = False
    search_fields = ("step",)

    @admin.display(description=_("run"))
    def run_id_short(self, step_run: StepRun) -> str:
        """Return the beginning of the run's id."""
        return shorten_id(step_run.run_id)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that the user may see."""
        place = ("run", "step", "shown_index", "visit", "attempt", "current", "queue", "worker", "crashes")
        times = ("created_at", "started_at", "finished_at", "duration", "due_at", "lease_until")
        shown: dict[str, Any] = {"fields": PAYLOAD}
        errors: tuple[str, ...] = ("error_type", "handled", *QUOTING, "progress")
        if not is_allowed(request, SEE_PAYLOAD, None if obj is None else obj.run):
            shown = {"fields": (), "description": HIDDEN_PAYLOAD}
            errors = tuple(name for name in errors if name not in QUOTING)
        return (
            (None, {"fields": (*place[:5], "status", "waiting_for", *place[5:])}),
            (_("Times"), {"fields": times}),
            (_("Data"), shown),
            (_("Error and logs"), {"fields": errors}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every field of the page."""
        return [name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters of the list of one run: no index serves them for all step runs."""
        return super().get_list_filter(request) if OF_RUN in request.GET else ()

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Return what is searched in the list of one run."""
        return super().get_search_fields(request) if OF_RUN in request.GET else ()

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """Return the columns by which the list of one run may be sorted."""
        return super().get_sortable_by(request) if OF_RUN in request.GET else ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Say yes to the filters of the list of one run."""
        is_of_run = request is None or OF_RUN in request.GET
        return is_of_run and super().lookup_allowed(lookup, value, request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out."""
        return LightChangeList

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether the user may see step runs, or runs."""
        run = obj.run if isinstance(obj, StepRun) else None
        return super().has_view_permission(request, obj) or is_allowed(request, "view_run", run)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return False: step runs are reached from their run."""
        return False


class StepRunAdmin(StepRunAdminMixin, ModelAdmin):
    """Step runs on the default site."""
