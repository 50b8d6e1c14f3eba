"""*Duplicate*: a new draft with the fields and steps of a workflow, under a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.forms.models import model_to_dict
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from ..models import Step, Workflow
from ..registry import get_handler
from .allowed import is_allowed
from .confirming import ask
from .links import row_url
from .problems import WORKFLOW_FIELDS

if TYPE_CHECKING:
    NameModelForm = forms.ModelForm[Workflow]
else:
    NameModelForm = forms.ModelForm


class NameForm(NameModelForm):
    """The name of the duplicate."""

    class Meta:
        model = Workflow
        fields = ("name",)


def may_duplicate(page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow) -> bool:
    """Say whether the user may copy the workflow: a copy shows everything that its draft holds."""
    return page.has_add_permission(request) and page.has_change_permission(request, workflow)


def show_duplicate(
    page: admin.ModelAdmin[Any], request: HttpRequest, workflow: Workflow | None
) -> HttpResponse:
    """Ask for the name; on POST make the duplicate and go to it. Raises ``PermissionDenied``."""
    if workflow is None:
        raise Http404
    if not may_duplicate(page, request, workflow):
        raise PermissionDenied
    steps = list(workflow.steps.all())
    form = NameForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        for permission in _lacking(request, steps, workflow):
            text = _("A step of this workflow needs the permission %s, which you do not have.")
            form.add_error(None, text % permission)
        if form.is_valid():
            copy = _duplicate(workflow, steps, form.cleaned_data["name"])
            page.log_addition(request, copy, _("Duplicate of %s.") % workflow)
            page.message_user(request, _("This is a duplicate of %s.") % workflow, messages.SUCCESS)
            return HttpResponseRedirect(row_url(page.admin_site, copy))
    text = _("The duplicate is a draft that staff own, with the same fields and steps.")
    back = row_url(page.admin_site, workflow)
    return ask(request, page, _("Duplicate"), text, rows=[workflow], back=back, form=form)


def _lacking(request: HttpRequest, steps: Iterable[Step], workflow: Workflow) -> list[str]:
    undos = (step.undo.get("type") for step in steps if isinstance(step.undo, dict))
    handlers = map(get_handler, {str(type) for type in (*(step.type for step in steps), *undos)})
    permissions = {handler.permission for handler in handlers if handler is not None and handler.permission}
    return sorted(each for each in permissions if not is_allowed(request, each, workflow))


def _duplicate(workflow: Workflow, steps: Iterable[Step], name: str) -> Workflow:
    alias = router.db_for_write(Workflow)
    copy = Workflow(**{**model_to_dict(workflow, WORKFLOW_FIELDS), "name": name})
    with transaction.atomic(using=alias):
        copy.save(using=alias, force_insert=True)
        for step in steps:
            step.pk, step.workflow = None, copy
            step._state.adding = True
        Step.objects.using(alias).bulk_create(steps)
    return copy
