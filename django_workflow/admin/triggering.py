"""The page that starts a run, and says the same as a command line and as Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ..engine import create
from ..exceptions import ParamsError
from ..insight.as_code import as_command, as_python
from ..models import Run, Source, Workflow
from ..status import RunStatus
from .allowed import is_allowed
from .links import row_url
from .pages import render_page
from .read_only import can_see
from .trigger_form import TriggerForm, make_form

# The button that starts nothing.
PREVIEW = "_preview"


def may_trigger(request: HttpRequest, workflow: Workflow) -> bool:
    """Say whether the user may start runs of the workflow."""
    return is_allowed(request, "trigger_workflow", workflow)


def show_trigger(
    page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow | None
) -> HttpResponse:
    """Show the form; on POST start a run, or show the same as code. Raises ``PermissionDenied``."""
    if workflow is None:
        raise Http404
    if not may_trigger(request, workflow):
        raise PermissionDenied
    if workflow.published_id is None:
        return _turn_away(page, request, workflow, _("Publish this workflow before you start it."))
    try:
        form = make_form(workflow, page, request)
    except ParamsError as error:
        return _turn_away(page, request, workflow, str(error))
    if request.method == "POST" and PREVIEW not in request.POST and form.is_valid():
        run = form.start(
            lambda: start_run(workflow, form.input, request, key=form.run_key, subject=form.subject)
        )
        if run is not None:
            return _go_to(page, request, run)
    return _show(page, request, workflow, form)


def start_run(
    workflow: Workflow,
    input: Mapping[str, Any],
    request: HttpRequest,
    *,
    key: str = "",
    subject: Model | None = None,
) -> Run:
    """Start a run in the name of the user. Raises what ``trigger`` raises."""
    using = create.write_alias(None)
    found = create.find_workflow(workflow.name, using)
    order = create.make_order(found, input, key=key or None, subject=subject, using=using)
    user: Any = request.user
    return create.create_run(found, order, using=using, source=Source.ADMIN, user=user)


def _show(
    page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow, form: TriggerForm
) -> HttpResponse:
    context = {
        "workflow": workflow,
        "form": form,
        "command": as_command(workflow.name, form.input, form.run_key),
        "python": as_python(workflow.name, form.input, form.run_key),
        "back": _home(page, request, workflow),
        # Without the fragment that "Show as code" leads to.
        "here": request.get_full_path(),
        "preview": PREVIEW,
        "media": page.media + form.media,
        "needs_forms": True,
    }
    title = _("Trigger: %s") % workflow
    return render_page(request, page, "trigger.html", title=title, **context)


def _go_to(page: admin.ModelAdmin[Any], request: HttpRequest, run: Run) -> HttpResponse:
    if not run.was_created:
        page.message_user(request, _("There is a run with this key already: this one."), messages.WARNING)
    elif run.status == RunStatus.CANCELLED:
        text = _("The workflow is switched off: the run is cancelled from birth.")
        page.message_user(request, text, messages.WARNING)
    else:
        page.message_user(request, format_html(_("Started: {}"), run), messages.SUCCESS)
    if can_see(page.admin_site, Run, request):
        return HttpResponseRedirect(row_url(page.admin_site, run))
    return HttpResponseRedirect(_home(page, request, run.workflow))


def _turn_away(
    page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow, text: str
) -> HttpResponse:
    page.message_user(request, text, messages.ERROR)
    return HttpResponseRedirect(_home(page, request, workflow))


def _home(page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow) -> str:
    """Return the page of the workflow; the site's first one for who may start it but not see it."""
    if page.has_view_permission(request, workflow):
        return row_url(page.admin_site, workflow)
    return reverse("admin:index", current_app=page.admin_site.name)
