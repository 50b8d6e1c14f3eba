"""Runs on the pages of a project's own models: those about a row, and an action that starts one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.db.models.fields.json import KeyTransform
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import NoReverseMatch
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..exceptions import NotStorable, ParamsError, WorkflowNotFound
from ..models import Run, Workflow, WorkflowVersion
from .allowed import is_allowed
from .confirming import CONFIRMED
from .links import list_url, row_url
from .pages import LooksMixin, render_page
from .triggering import TriggerForm, make_form, start_run

if TYPE_CHECKING:
    Mixed = admin.ModelAdmin[Any]
else:
    Mixed = object

SHOWN = 10
# Each run is started in this request, and without a queue its steps run in it.
MOST = 100
CHOICE = "workflow_and_field"
FIELD = "workflow_runs"


class WorkflowSubjectMixin(LooksMixin, Mixed):
    """For the ``ModelAdmin`` of any model: its runs on the page of a row, and an action on its list.

    Runs are shown to who may see runs; the action is there for who may trigger workflows, when one is
    published whose declared input takes a row of this model.
    """

    @admin.display(description=gettext_lazy("latest runs"))
    def workflow_runs(self, row: Model) -> str:
        """Return the latest runs about ``row`` as a table."""
        runs = Run.objects.about(row).select_related("workflow").defer(*_BIG).order_by("-pk")
        shown = list(runs[: SHOWN + 1])
        values = {
            "rows": [(run, _url(self, run)) for run in shown[:SHOWN]],
            "has_more": len(shown) > SHOWN,
            "all_url": list_url(self.admin_site, Run, about=f"{row._meta.label_lower}:{row.pk}"),
        }
        return render_to_string("admin/django_workflow/subject_runs.html", values)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own fields, and the runs behind them."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not is_allowed(request, "view_run"):
            return fieldsets
        return [*fieldsets, (gettext_lazy("Workflow runs"), {"fields": (FIELD,)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own, and the runs."""
        return (*super().get_readonly_fields(request, obj), FIELD)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the model's own fields: the runs have a part of the page for themselves."""
        return [name for name in super().get_fields(request, obj) if name != FIELD]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the model's own actions, and that of running a workflow where one takes such rows."""
        actions: dict[str, Any] = super().get_actions(request)
        if is_allowed(request, "trigger_workflow") and taking_workflows(self.model):
            actions["run_workflow"] = (run_workflow, "run_workflow", _("Run a workflow…"))
        return actions


@admin.action(description=gettext_lazy("Run a workflow…"))
def run_workflow(
    page: WorkflowSubjectMixin, request: HttpRequest, rows: QuerySet[Any]
) -> HttpResponse | None:
    """Ask which workflow, and with what else; when confirmed start a run about each of the rows."""
    if not is_allowed(request, "trigger_workflow"):
        raise PermissionDenied
    chosen = list(rows[: MOST + 1])
    if len(chosen) > MOST:
        text = _("At most %s rows at once: choose fewer, or use trigger_many() in a command.")
        page.message_user(request, text % MOST, messages.ERROR)
        return None
    if not all(page.has_view_permission(request, row) for row in chosen):
        raise PermissionDenied
    choices = {f"{name}:{field}": (name, field) for name, field in taking_workflows(page.model)}
    choice = request.POST.get(CHOICE, next(iter(choices)) if len(choices) == 1 else "")
    if choice not in choices:
        return _ask(page, request, chosen, list(choices.values()), None)
    name, field = choices[choice]
    workflow = Workflow.objects.get(name=name)
    if not is_allowed(request, "trigger_workflow", workflow):
        raise PermissionDenied
    form = make_form(workflow, page, request, without=field)
    del form.fields["key"]
    if CONFIRMED not in request.POST:
        form.is_bound = False
    elif form.is_valid() and _start_all(page, request, workflow, field, chosen, form):
        return None
    return _ask(page, request, chosen, [(name, field)], form)


def taking_workflows(model: type[Model]) -> list[tuple[str, str]]:
    """Return the workflows that take a row of ``model``, and in which field. One query."""
    versions = WorkflowVersion.objects.filter(
        pk__in=Workflow.objects.filter(enabled=True, published__isnull=False).values("published")
    )
    inputs = versions.annotate(declared=KeyTransform("input", "spec")).order_by("workflow__name")
    return [
        (name, field)
        for name, declared in inputs.values_list("workflow__name", "declared")
        for field, about in (declared if isinstance(declared, dict) else {}).items()
        if _takes(about, model)
    ]


def _takes(about: Any, model: type[Model]) -> bool:
    kind = about.get("type", "") if isinstance(about, dict) else about
    return isinstance(kind, str) and kind.lower() == model._meta.label_lower


def _ask(
    page: WorkflowSubjectMixin,
    request: HttpRequest,
    rows: Sequence[Model],
    choices: Sequence[tuple[str, str]],
    form: TriggerForm | None,
) -> HttpResponse:
    count = len(rows)
    context = {
        "rows": rows,
        "choices": [(f"{name}:{field}", name, field) for name, field in choices],
        "choice": CHOICE,
        "form": form,
        "text": ngettext("%d run is started, about:", "%d runs are started, one about each of:", count)
        % count,
        "back": request.get_full_path(),
        "confirmed": CONFIRMED,
        "media": page.media + (form.media if form else forms.Media()),
        "needs_forms": True,
    }
    title = _("Run a workflow")
    return render_page(request, page, "run_a_workflow.html", title=title, **context)


def _start_all(
    page: WorkflowSubjectMixin,
    request: HttpRequest,
    workflow: Workflow,
    field: str,
    rows: Sequence[Model],
    form: TriggerForm,
) -> bool:
    """Start a run about each row; return False where the input does not fit, and nothing was started."""
    runs: list[Run] = []
    for row in rows:
        try:
            runs.append(start_run(workflow, {**form.input(), field: row}, request, key="", subject=row))
        except ParamsError as error:
            form.add_problems(error.problems)
        except (NotStorable, WorkflowNotFound) as error:
            form.add_error(None, str(error))
        if form.errors:
            break
    if runs:
        links = format_html_join(", ", '<a href="{}">{}</a>', ((_url(page, run), run) for run in runs[:5]))
        more = format_html(" …") if len(runs) > 5 else ""
        page.message_user(request, format_html(_("Started: {}{}"), links, more), messages.SUCCESS)
    return bool(runs) or not form.errors


def _url(page: WorkflowSubjectMixin, run: Run) -> str:
    try:
        return row_url(page.admin_site, run)
    except NoReverseMatch:
        return ""


_BIG = ("input", "state", "output", "jumps", "error", "workflow__input", "workflow__on_failure")
