"""Runs in the admin: a list to find them, a page for each, and the verbs for those who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from ..insight.facts import BIG_OF_RUN
from ..models import Run, RunAction, StepRun
from ..status import FINAL_RUN
from .allowed import is_allowed
from .bulk import ask_for_bulk, show_verbs
from .fragments import answer_fragment, poll_after
from .pages import RowsMixin
from .read_only import CappedPaginator, ReadOnlyMixin
from .run_columns import RunColumns
from .run_list import FILTERS, RunChangeList
from .run_live import COLUMNS, etag_of, marks
from .run_page import RunPage
from .verb_pages import apply_to_list, show_verb
from .verbs import BY_NAME, CONTROL, OVERRIDE, VERBS, RunVerb

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Run]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object

PARTS = "admin/django_workflow/run/parts.html"
_RELATED = ("workflow", "version", "parent__run__workflow", "restarted_from__workflow")
_BIG = BIG_OF_RUN[:5]
# Of the runs and versions beside the one that is shown.
_BESIDE = ("workflow__input", "workflow__on_failure", "version__spec", "version__warnings")
_FAR = tuple(f"{far}__{name}" for far in ("parent__run", "restarted_from") for name in _BIG)
_PARENT = tuple(
    f"parent__{name}" for name in ("params", "output", "item", "state_changes", "traceback", "logs")
)


def _selected(verb: RunVerb) -> Callable[..., Any]:
    """Return the action of the list that does ``verb`` to chosen runs, or asks about all of them."""

    @admin.action(permissions=[verb.permission.partition("_")[0]], description=verb.label)
    def act(page: RunAdminMixin, request: HttpRequest, runs: QuerySet[Run]) -> HttpResponse | None:
        if request.POST.get("select_across") == "1":
            return HttpResponseRedirect(f"{page.bulk_url(verb.name)}?{request.GET.urlencode()}")
        return apply_to_list(verb, page, request, runs)

    act.__name__ = f"{verb.name}_selected"
    return act


class RunAdminMixin(RowsMixin, RunColumns, ReadOnlyMixin, Mixed):
    """What the pages of runs do, for any ``ModelAdmin`` of any site."""

    list_display = (
        "id_short",
        "shown_status",
        "workflow_name",
        "subject",
        "key",
        "shown_progress",
        "created",
        "duration",
        "source",
    )
    list_display_links = ("id_short", "shown_status")
    list_filter = FILTERS
    list_select_related = ("workflow",)
    list_defer = BIG_OF_RUN
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    # For any other order the whole table would be read.
    sortable_by = ("id_short", "created")
    search_fields = ("id", "key", "subject_id")
    search_help_text = _("The beginning of an id or of a key, or the key of what a run is about.")
    actions = tuple(_selected(verb) for verb in VERBS)
    change_list_template = "admin/django_workflow/run/change_list.html"
    change_form_template = "admin/django_workflow/run/change_form.html"

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Say whether the user may see runs, or this one."""
        return super().has_view_permission(request, obj) or is_allowed(request, "view_run", obj)

    def has_control_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Say whether the user may cancel, pause, resume, retry and restart runs, or this one."""
        return is_allowed(request, CONTROL, obj)

    def has_override_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Say whether the user may skip steps of runs and undo them, or this one."""
        return is_allowed(request, OVERRIDE, obj)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out."""
        return RunChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """Return the runs that what was typed finds, each by an index."""
        text = search_term.strip().replace("\0", "")
        return (queryset.search(text) if text else queryset), False  # type: ignore[attr-defined]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Run | None:
        """Return the run with what its page names, big columns of the others left out."""
        try:
            pk = UUID(object_id)
        except ValueError:
            return None
        rows = self.get_queryset(request).select_related(*_RELATED).defer(*_BESIDE, *_FAR, *_PARENT)
        run: Run | None = rows.annotate(**marks()).filter(pk=pk).first()
        return run

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return no fields: the page has parts of its own."""
        return ()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the runs: step runs and actions are parts of them, no permission asked."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        parts = {str(model._meta.verbose_name) for model in (StepRun, RunAction)}
        return deleted, counts, {name for name in lacking if str(name) not in parts}, protected

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, one for each verb among them."""
        wrap, name = self.admin_site.admin_view, "django_workflow_run"
        own = [
            path("bulk/", wrap(self.bulk_view), name=f"{name}_bulk_verbs"),
            path("bulk/<slug:verb>/", wrap(self.bulk_view), name=f"{name}_bulk"),
            # Not wrapped: who is not logged in any more is told so, and not sent to the login page.
            path("<path:object_id>/live/", self.live_view, name=f"{name}_live"),
        ]
        for verb in VERBS:
            at, view = f"<path:object_id>/{verb.name}/", wrap(self.verb_view)
            own.append(path(at, view, {"verb": verb.name}, name=f"{name}_{verb.name}"))
        return [*own, *super().get_urls()]

    def verb_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Ask, then apply the verb to one run."""
        return show_verb(BY_NAME[verb], self, request, object_id)

    def bulk_view(self, request: HttpRequest, verb: str = "") -> HttpResponse:
        """Say what may be done to all runs of the list; ask, then do it in the background."""
        return ask_for_bulk(self, request, verb) if verb else show_verbs(self, request)

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the part of a run's page that changes; 304 where it has not, 403 without permission."""
        try:
            run_id = UUID(unquote(object_id))
        except ValueError:
            return HttpResponse(status=404)
        rows = self.get_queryset(request).filter(pk=run_id).annotate(**marks())
        found = rows.values(*COLUMNS).first() if self.admin_site.has_permission(request) else None
        may_view = found is not None and (
            self.has_view_permission(request)
            or self.has_view_permission(request, self.get_object(request, str(run_id)))
        )

        def render() -> str:
            run = self.get_object(request, str(run_id))
            return "" if run is None else render_to_string(PARTS, self._parts(request, run), request)

        etag, is_final = etag_of(request, found or {}), (found or {}).get("status") in FINAL_RUN
        return answer_fragment(request, etag, may_view=may_view, is_final=is_final, render=render)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Return the list."""
        bulk = f"{self.bulk_url()}?{request.GET.urlencode()}" if self._may_change(request) else ""
        return super().changelist_view(request, {"bulk_url": bulk, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page of a run."""
        run = context["original"]
        # As the run was read, so that a change after that is seen by the next look.
        context["etag"] = etag_of(request, vars(run))
        context["live_url"] = self._url("live", run.pk)
        context["poll"] = poll_after(is_final=run.is_final)
        context |= self._parts(request, run)
        return super().render_change_form(request, context, *args, **kwargs)

    def bulk_url(self, verb: str = "") -> str:
        """Return the address of the page that asks before a verb is done to many runs."""
        return self._url("bulk", verb) if verb else self._url("bulk_verbs")

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:django_workflow_run_{name}", args=args, current_app=self.admin_site.name)

    def _parts(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        return {"page": RunPage(request, self, run), "run": run}

    def _may_change(self, request: HttpRequest) -> bool:
        return self.has_control_permission(request) or self.has_override_permission(request)


class RunAdmin(RunAdminMixin, ModelAdmin):
    """Runs on the default site."""
