"""Runs in the admin: read-only, with cancel and retry for those who may."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..models import Run, RunAction, StepRun, Workflow
from .allowed import is_allowed
from .links import Link, list_url, row_url
from .read_only import LightChangeList, ReadOnlyMixin
from .showing import NOTHING, shorten_id, show_duration, show_json
from .step_runs import HIDDEN_PAYLOAD, SEE_PAYLOAD, ActionInline, StepRunInline
from .verbs import CANCEL, CONTROL, RETRY, VERBS, apply_to_list, apply_to_page

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Run]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object

# Ids begin with their time: fewer digits would find the runs of hours.
FEWEST_DIGITS = 8

_FACTS = ("id", "workflow", "version", "status", "ending", "step", "key", "source", "triggered_by", "about")
_TIMES = ("created_at", "started_at", "finished_at", "duration", "deadline")
_PAYLOAD = ("shown_input", "shown_state", "shown_output")


class WorkflowFilter(admin.RelatedFieldListFilter):
    """Filters by workflow; reads their names only."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        """Return the keys and names of all workflows."""
        return list(Workflow.objects.values_list("pk", "name"))


class RunAdminMixin(ReadOnlyMixin, Mixed):
    """What the pages of runs do, for any ``ModelAdmin`` of any site."""

    list_display = ("id_short", "workflow", "status", "step", "key", "source", "created_at", "duration")
    list_filter = ("status", ("workflow", WorkflowFilter), "created_at")
    list_select_related = ("workflow",)
    list_defer = ("input", "state", "output", "jumps", "error", "workflow__input", "workflow__on_failure")
    show_full_result_count = False
    search_fields = ("id", "key")
    search_help_text = _("The beginning of an id or of a key.")
    actions = ("cancel_selected", "retry_selected")
    inlines = (StepRunInline, ActionInline)

    @admin.display(description=_("id"), ordering="id")
    def id_short(self, run: Run) -> str:
        """Return the beginning of the id."""
        return shorten_id(run.pk)

    @admin.display(description=_("duration"))
    def duration(self, run: Run) -> str:
        """Return how long the run took, or has taken by now."""
        return show_duration(run.started_at, run.finished_at or timezone.now())

    @admin.display(description=_("about"))
    def about(self, run: Run) -> str:
        """Return the row the run is about, by its model and key."""
        return f"{run.subject_type} {run.subject_id}" if run.subject_type else NOTHING

    @admin.display(description=_("input"))
    def shown_input(self, run: Run) -> str:
        """Return what the run was triggered with."""
        return show_json(run.input)

    @admin.display(description=_("state"))
    def shown_state(self, run: Run) -> str:
        """Return the shared data of the run."""
        return show_json(run.state)

    @admin.display(description=_("output"))
    def shown_output(self, run: Run) -> str:
        """Return the run's output."""
        return show_json(run.output)

    @admin.action(permissions=["control"], description=_("Cancel selected runs"))
    def cancel_selected(self, request: HttpRequest, runs: QuerySet[Run]) -> HttpResponse | None:
        """Ask, then cancel the runs one by one."""
        return apply_to_list(CANCEL, self, request, runs)

    @admin.action(permissions=["control"], description=_("Retry selected runs"))
    def retry_selected(self, request: HttpRequest, runs: QuerySet[Run]) -> HttpResponse | None:
        """Ask, then retry the runs one by one."""
        return apply_to_list(RETRY, self, request, runs)

    def has_control_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Say whether the user may cancel and retry runs, or this one."""
        return is_allowed(request, CONTROL, obj)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out."""
        return LightChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """Return the runs whose id or key begins with what was typed; both are read from an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        ids = _ids_from(term)
        found = Q(key__startswith=term)
        return queryset.filter(found if ids is None else found | Q(pk__range=ids)), False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that the user may see."""
        data: dict[str, Any] = {"fields": _PAYLOAD}
        if not is_allowed(request, SEE_PAYLOAD, obj):
            data = {"fields": (), "description": HIDDEN_PAYLOAD}
        return (
            (None, {"fields": (*_FACTS, "parent", "restarted_from")}),
            (_("Times"), {"fields": _TIMES}),
            (_("Error"), {"fields": ("error_type", "error")}),
            (_("Data"), data),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every field of the page."""
        return [name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the runs: step runs and actions are parts of them, no permission asked."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        parts = {str(model._meta.verbose_name) for model in (StepRun, RunAction)}
        return deleted, counts, {name for name in lacking if str(name) not in parts}, protected

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, one for each verb among them."""
        own = [
            path(
                f"<path:object_id>/{verb.name}/",
                self.admin_site.admin_view(self.verb_view),
                {"verb": verb.name},
                name=f"django_workflow_run_{verb.name}",
            )
            for verb in VERBS
        ]
        return [*own, *super().get_urls()]

    def verb_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Ask, then apply the verb to one run."""
        [found] = (each for each in VERBS if each.name == verb)
        return apply_to_page(found, self, request, object_id)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page, with the verbs that the run and the user allow."""
        run = context["original"]
        context["links"] = [] if run is None else list(self._links(request, run))
        return super().render_change_form(request, context, *args, **kwargs)

    def _links(self, request: HttpRequest, run: Run) -> Iterable[Link]:
        for verb in VERBS:
            if verb.is_offered(run) and self.has_control_permission(request, run):
                yield Link(url=row_url(self.admin_site, run, verb.name), label=verb.title)
        if self.admin_site.is_registered(StepRun):
            url = list_url(self.admin_site, StepRun, run__id__exact=run.pk)
            yield Link(url=url, label=_("All step runs"))


class RunAdmin(RunAdminMixin, ModelAdmin):
    """Runs on the default site."""


def _ids_from(term: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begin with ``term``; None where it is too short for one, or
    none."""
    digits = term.replace("-", "")
    if len(digits) < FEWEST_DIGITS:
        return None
    try:
        return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    except ValueError:
        return None
