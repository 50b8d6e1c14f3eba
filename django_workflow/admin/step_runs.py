"""Step runs in the admin: as a table on their run's page, and each on a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.text import Truncator
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Run, RunAction, StepRun
from .allowed import is_allowed
from .pages import RowsMixin
from .read_only import LightChangeList, NeverDeletedMixin
from .showing import NOTHING, shorten_id, show_duration, show_json, show_line, show_text

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[StepRun]
    Mixed = ModelAdmin
    StepRunTabularInline = admin.TabularInline[StepRun, Run]
    ActionTabularInline = admin.TabularInline[RunAction, Run]
    InlineFormSet = BaseInlineFormSet[StepRun, Run, Any]
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object
    StepRunTabularInline = admin.TabularInline
    ActionTabularInline = admin.TabularInline
    InlineFormSet = BaseInlineFormSet

SEE_PAYLOAD = "view_run_payload"
# A run may have thousands of step runs; its page shows the latest and links to the list of all.
SHOWN = 100
SHOWN_CHARACTERS = 300

PAYLOAD = ("shown_params", "shown_output", "shown_state_changes")
HIDDEN_PAYLOAD = _(
    "Input, state, params and outputs are hidden: to see them needs django_workflow.view_run_payload."
)
_NOT_IN_TABLE = ("item", "event", "progress", "state_changes", "traceback", "logs")
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
        return show_duration(step_run.started_at, step_run.finished_at)


class LatestFormSet(InlineFormSet):
    """The latest rows of a run, in the order they were made."""

    def get_queryset(self) -> Any:
        """Return the rows to show."""
        if not hasattr(self, "_latest"):
            self._latest = list(super().get_queryset().order_by("-id")[:SHOWN])[::-1]
        return self._latest


class StepRunInline(StepRunTexts, NeverDeletedMixin, StepRunTabularInline):
    """The step runs of a run, a line each; the page behind ``View`` has all of one."""

    model = StepRun
    fk_name = "run"
    formset = LatestFormSet
    extra = 0
    show_change_link = True
    verbose_name_plural = _("step runs")

    @admin.display(description=_("step"))
    def place(self, step_run: StepRun) -> str:
        """Return the step with its item, and the visit and attempt where these are not the first."""
        parts = [str(step_run)]
        if step_run.visit > 1:
            parts.append(gettext("visit %d") % step_run.visit)
        if step_run.attempt > 1:
            parts.append(gettext("attempt %d") % step_run.attempt)
        return ", ".join(parts)

    @admin.display(description=_("started at"))
    def started(self, step_run: StepRun) -> str:
        """Return when the attempt began, to the second."""
        begun = step_run.started_at
        return NOTHING if begun is None else f"{localtime(begun):%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("status"))
    def shown_status(self, step_run: StepRun) -> str:
        """Return the status, and what a waiting step waits for, until when."""
        if not step_run.waiting_for:
            return step_run.get_status_display()
        waiting = f"{step_run.get_status_display()}: {step_run.get_waiting_for_display()}"
        return waiting if step_run.due_at is None else f"{waiting}, {localize(localtime(step_run.due_at))}"

    @admin.display(description=_("params"))
    def params_line(self, step_run: StepRun) -> str:
        """Return the params the handler was called with."""
        return show_line(step_run.params, SHOWN_CHARACTERS)

    @admin.display(description=_("output"))
    def output_line(self, step_run: StepRun) -> str:
        """Return what the handler returned."""
        return show_line(step_run.output, SHOWN_CHARACTERS)

    @admin.display(description=_("error"))
    def error_line(self, step_run: StepRun) -> str:
        """Return the class of the error and its text."""
        name = step_run.error_type.rpartition(".")[2]
        return Truncator(f"{name}: {step_run.error}").chars(SHOWN_CHARACTERS) if name else NOTHING

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the columns that the user may see."""
        payload = ("params_line", "output_line") if is_allowed(request, SEE_PAYLOAD, obj) else ()
        return ("place", "shown_status", "started", "duration", *payload, "error_line")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every column."""
        return self.get_fields(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StepRun]:
        """Return the rows, without what the table does not show."""
        return super().get_queryset(request).defer(*_NOT_IN_TABLE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say yes: whoever sees the run's page sees its steps."""
        return True


class ActionInline(NeverDeletedMixin, ActionTabularInline):
    """What operators did to a run."""

    model = RunAction
    extra = 0
    fields = ("verb", "step", "by", "note", "at")
    readonly_fields = fields
    verbose_name_plural = _("actions")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunAction]:
        """Return the actions with who did them."""
        return super().get_queryset(request).select_related("by")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say yes: whoever sees the run's page sees what was done to it."""
        return True


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
    list_defer = (*_PAYLOAD_COLUMNS, "error", "traceback", "logs")
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
        errors = ("error_type", "error", "handled", "shown_traceback", "shown_logs", "progress")
        shown: dict[str, Any] = {"fields": (*PAYLOAD, "shown_item", "shown_event")}
        if not is_allowed(request, SEE_PAYLOAD, None if obj is None else obj.run):
            shown = {"fields": (), "description": HIDDEN_PAYLOAD}
        return (
            (None, {"fields": (*place[:5], "status", "waiting_for", *place[5:])}),
            (_("Times"), {"fields": times}),
            (_("Data"), shown),
            (_("Error and logs"), {"fields": errors}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every field of the page."""
        return [name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]

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
