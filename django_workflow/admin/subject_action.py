"""The action that starts a run about each of the rows that are chosen in a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..engine.create import write_alias
from ..exceptions import ParamsError
from ..insight.taking import Taking, find_taking
from ..models import Run, Workflow
from .allowed import is_allowed
from .confirming import CONFIRMED
from .links import row_url
from .pages import render_page
from .read_only import can_see
from .trigger_form import TriggerForm, make_form
from .triggering import start_run

if TYPE_CHECKING:
    Page = admin.ModelAdmin[Any]

ACTION = "run_workflow"
# Each run is started in this request, and without a queue its steps run in it.
MOST = 100
MOST_LINKED = 5
CHOICE = "workflow_and_field"


@admin.action(description=gettext_lazy("Run a workflow…"))
def run_workflow(page: Page, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
    """Ask which workflow, and with what else; when confirmed start a run about each of the rows."""
    chosen = list(rows[: MOST + 1])
    if len(chosen) > MOST:
        text = _("At most %s rows at once: choose fewer, or use trigger_many() in a command.")
        page.message_user(request, text % MOST, messages.ERROR)
        return None
    if not all(page.has_view_permission(request, row) for row in chosen):
        raise PermissionDenied
    choices = {taking.value: taking for taking in find_taking(page.model)}
    choice = request.POST.get(CHOICE, next(iter(choices)) if len(choices) == 1 else "")
    if choice not in choices:
        return _ask(page, request, chosen, list(choices.values()), None)
    return _run(page, request, chosen, choices[choice])


def _run(page: Page, request: HttpRequest, rows: Sequence[Model], taking: Taking) -> HttpResponse | None:
    workflow = Workflow.objects.get(pk=taking.pk)
    if not is_allowed(request, "trigger_workflow", workflow):
        raise PermissionDenied
    try:
        form = make_form(workflow, page, request, without=taking.field)
    except ParamsError as error:
        page.message_user(request, str(error), messages.ERROR)
        return None
    del form.fields["key"]  # It would be the same for each of the runs.
    if CONFIRMED not in request.POST:
        form.is_bound = False
    elif form.is_valid():
        runs = form.start(lambda: _start_all(workflow, taking.field, rows, form, request))
        if runs is not None:
            _tell(page, request, runs)
            return None
    return _ask(page, request, rows, [taking], form)


def _start_all(
    workflow: Workflow, field: str, rows: Sequence[Model], form: TriggerForm, request: HttpRequest
) -> list[Run]:
    """Start a run about each row; where one cannot be started, none is."""
    with transaction.atomic(using=write_alias(None)):
        return [start_run(workflow, {**form.input, field: row}, request, subject=row) for row in rows]


def _ask(
    page: Page,
    request: HttpRequest,
    rows: Sequence[Model],
    choices: Sequence[Taking],
    form: TriggerForm | None,
) -> HttpResponse:
    text = ngettext("%d run is started, about:", "%d runs are started, one about each of:", len(rows))
    context = {
        "rows": rows,
        "choices": choices,
        "choice": CHOICE,
        "form": form,
        "text": text % len(rows),
        "back": request.get_full_path(),
        "action": ACTION,
        "checkbox": ACTION_CHECKBOX_NAME,
        "confirmed": CONFIRMED,
        "media": page.media + (form.media if form else forms.Media()),
        "needs_forms": True,
    }
    return render_page(request, page, "run_a_workflow.html", title=_("Run a workflow"), **context)


def _tell(page: Page, request: HttpRequest, runs: Sequence[Run]) -> None:
    sees = can_see(page.admin_site, Run, request)
    names = ((row_url(page.admin_site, run) if sees else "", run) for run in runs[:MOST_LINKED])
    pattern = '<a href="{}">{}</a>' if sees else "{1}"
    more = format_html(" …") if len(runs) > MOST_LINKED else ""
    text = format_html(_("Started: {}{}"), format_html_join(", ", pattern, names), more)
    page.message_user(request, text, messages.SUCCESS)
