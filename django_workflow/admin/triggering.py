"""The form that starts a run: from the declared input, and the same as a command and as Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..engine import create
from ..engine.programs import get_program
from ..exceptions import NotStorable, ParamsError, WorkflowNotFound
from ..insight.as_code import as_command, as_python
from ..models import Run, Source, Workflow
from ..params import declared_params
from ..status import RunStatus
from .allowed import is_allowed
from .json_fields import ReadableJSONField
from .links import row_url
from .pages import render_page
from .picking import pick_rows
from .verb_forms import JSON_BOX

PREVIEW = "_preview"
# Before the names of the declared fields, which may be called anything.
BEFORE = "data."
ALL = f"{BEFORE}input"


class TriggerForm(forms.Form):
    """The key; the declared fields are added by :func:`make_form`."""

    key = forms.CharField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=255,
        help_text=gettext_lazy("One run per key: a second one with the same key returns the first."),
    )
    is_declared = True

    def input(self) -> dict[str, Any]:
        """Return what was filled in; what was left empty has its default."""
        if not self.is_declared:
            return self.cleaned_data.get(ALL) or {}
        given = {name: value for name, value in self.cleaned_data.items() if name.startswith(BEFORE)}
        return {
            name.removeprefix(BEFORE): value
            for name, value in given.items()
            if value not in self.fields[name].empty_values
        }

    def subject(self) -> Model | None:
        """Return the only row among the input, if there is just one."""
        rows = [value for value in self.input().values() if isinstance(value, Model)]
        return rows[0] if len(rows) == 1 else None

    def clean(self) -> dict[str, Any]:
        """Refuse free input that is no object."""
        cleaned = super().clean() or self.cleaned_data
        free = cleaned.get(ALL)
        if not self.is_declared and free is not None and not isinstance(free, dict):
            self.add_error(ALL, _("A JSON object is needed: {…}."))
        return cleaned

    def add_problems(self, problems: Mapping[str, list[str]]) -> None:
        """Show what did not fit beside its field."""
        for name, texts in problems.items():
            field = f"{BEFORE}{name}" if f"{BEFORE}{name}" in self.fields else None
            for text in texts:
                self.add_error(field, text if field else f"{name}: {text}")


def may_trigger(request: HttpRequest, workflow: Workflow) -> bool:
    """Say whether the user may start runs of the workflow."""
    return is_allowed(request, "trigger_workflow", workflow)


def declared_input(workflow: Workflow) -> Mapping[str, Any] | None:
    """Return what the published version declares; None where any JSON object may start a run."""
    if workflow.published_id is None:
        return None
    return get_program(workflow.published_id, workflow._state.db or "default").spec.input


def make_form(
    workflow: Workflow, page: admin.ModelAdmin[Any], request: HttpRequest, *, without: str = ""
) -> TriggerForm:
    """Return the form for what the workflow declares, but for the field ``without``."""
    data = request.POST if request.method == "POST" else None
    form = TriggerForm(data, initial=None if data else request.GET.dict())
    declared = declared_input(workflow)
    if declared is None:
        box = ReadableJSONField(
            label=_("Input"), required=False, widget=JSON_BOX, help_text=_("A JSON object.")
        )
        fields: dict[str, forms.Field] = {ALL: box}
        form.is_declared = False
    else:
        own = declared_params(declared).fields()
        wanted = {f"{BEFORE}{name}": field for name, field in own.items() if name != without}
        fields = pick_rows(wanted, page.admin_site, request)
    form.fields = {**fields, **form.fields}
    return form


def show_trigger(
    page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow | None
) -> HttpResponse:
    """Show the form; on POST start a run, or show the same as code. Raises ``PermissionDenied``."""
    if workflow is None:
        raise Http404
    if not may_trigger(request, workflow):
        raise PermissionDenied
    if workflow.published_id is None:
        page.message_user(request, _("Publish this workflow before you start it."), messages.ERROR)
        return HttpResponseRedirect(row_url(page.admin_site, workflow))
    form = make_form(workflow, page, request)
    is_asked = request.method == "POST" and form.is_valid()
    if is_asked and PREVIEW not in request.POST:
        run = _start(workflow, form, request)
        if run is not None:
            return _go_to(page, request, run)
    given, key = (form.input(), form.cleaned_data["key"]) if is_asked and form.is_valid() else ({}, "")
    context = {
        "workflow": workflow,
        "form": form,
        "command": as_command(workflow.name, given, key),
        "python": as_python(workflow.name, given, key),
        "back": row_url(page.admin_site, workflow),
        "preview": PREVIEW,
        "media": page.media + form.media,
        "needs_forms": True,
    }
    title = _("Trigger: %s") % workflow
    return render_page(request, page, "trigger.html", title=title, **context)


def start_run(
    workflow: Workflow, input: Mapping[str, Any], request: HttpRequest, *, key: str, subject: Model | None
) -> Run:
    """Start a run in the name of the user. Raises what ``trigger`` raises."""
    using = create.write_alias(None)
    found = create.find_workflow(workflow.name, using)
    order = create.make_order(found, input, key=key or None, subject=subject, using=using)
    user: Any = request.user
    return create.create_run(found, order, using=using, source=Source.ADMIN, user=user)


def _start(workflow: Workflow, form: TriggerForm, request: HttpRequest) -> Run | None:
    try:
        key, subject = form.cleaned_data["key"], form.subject()
        return start_run(workflow, form.input(), request, key=key, subject=subject)
    except ParamsError as error:
        form.add_problems(error.problems)
    except (NotStorable, WorkflowNotFound, ValueError) as error:
        form.add_error(None, str(error))
    return None


def _go_to(page: admin.ModelAdmin[Any], request: HttpRequest, run: Run) -> HttpResponse:
    if not run.was_created:
        page.message_user(request, _("There is a run with this key already: this one."), messages.WARNING)
    elif run.status == RunStatus.CANCELLED:
        text = _("The workflow is switched off: the run is cancelled from birth.")
        page.message_user(request, text, messages.WARNING)
    else:
        page.message_user(request, format_html(_("Started: {}"), run), messages.SUCCESS)
    if not page.admin_site.is_registered(Run):
        return HttpResponseRedirect(row_url(page.admin_site, run.workflow))
    return HttpResponseRedirect(row_url(page.admin_site, run))
