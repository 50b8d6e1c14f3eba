"""The steps of a draft, as rows of their workflow's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from ..models import Step, Workflow
from .drafts import PUBLISH, StepForm, StepFormSet
from .json_fields import DraftJSONField, ParamsField, WordOrJSONField
from .read_only import replace_field
from .revisions import is_draft_offered, is_stale
from .showing import NOTHING, hide_given, hide_step, show_text, write_json

if TYPE_CHECKING:
    StackedInline = admin.StackedInline[Step, Workflow]
else:
    StackedInline = admin.StackedInline

JSON_BOX: dict[type[models.Field[Any, Any]], dict[str, Any]] = {
    models.JSONField: {
        "form_class": DraftJSONField,
        "widget": AdminTextareaWidget(attrs={"rows": 3}),
        "show_hidden_initial": False,
    }
}
_STEP_OPTIONS: dict[str, dict[str, Any]] = {
    "position": {
        "required": False,
        "min_value": 0,
        "initial": None,
        "help_text": gettext_lazy(
            "A step goes behind the one that has this number; 0: to the top, nothing: to the end."
        ),
    },
    "name": {"required": False},
    "type": {"widget": AdminTextInputWidget(attrs={"list": "workflow-step-types"})},
    "params": {"form_class": ParamsField, "widget": AdminTextareaWidget(attrs={"rows": 6})},
    "condition": {"widget": AdminTextareaWidget(attrs={"rows": 2})},
    "for_each": {"widget": AdminTextareaWidget(attrs={"rows": 2})},
    "needs": {"form_class": WordOrJSONField},
    "on_error": {"form_class": WordOrJSONField},
}
_MORE = (
    "needs",
    "join",
    "for_each",
    "max_parallel",
    "retry",
    "timeout",
    "on_error",
    "next",
    "delay",
    "queue",
    "shown_undo",
)


class StepInline(StackedInline):
    """The draft's steps. Who may change the workflow may change them."""

    model = Step
    form = StepForm
    formset = StepFormSet
    extra = 1
    formfield_overrides = JSON_BOX
    readonly_fields = ("shown_params", "shown_undo")
    fieldsets = (
        (None, {"fields": (("position", "name", "type"), "params", "condition")}),
        (gettext_lazy("More"), {"fields": _MORE, "classes": ("collapse",)}),
    )

    @admin.display(description=gettext_lazy("undo"))
    def shown_undo(self, step: Step) -> str:
        """Return what undoes the step, which a file or code writes."""
        return NOTHING if step.undo is None else show_text(write_json(hide_step(step.undo)))

    @admin.display(description=gettext_lazy("params"))
    def shown_params(self, step: Step) -> str:
        """Return the params as indented JSON, hidden parts starred."""
        return show_text(write_json(hide_given(step.params))) if step.params else NOTHING

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; of a draft that may only be read, without what is hidden."""
        fieldsets = super().get_fieldsets(request, obj)
        return (
            fieldsets if self._may_write(request, obj) else replace_field(fieldsets, "params", "shown_params")
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the field, with what steps need beside the admin's own choice."""
        options = {**kwargs, **_STEP_OPTIONS.get(db_field.name, {})}
        return super().formfield_for_dbfield(db_field, request, **options)

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Return the class of the formset, which is told who asks and for what."""
        formset = super().get_formset(request, obj, **kwargs)
        most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        if most is not None:  # No browser can send more steps; a forged count is not worth drawing forms for.
            formset.absolute_max = most // len(formset.form.base_fields)
            formset.max_num = min(formset.max_num, formset.absolute_max)
        formset.request, formset.site = request, self.admin_site  # type: ignore[attr-defined]
        formset.is_stale = is_stale(request, obj)  # type: ignore[attr-defined]
        formset.is_publishing = PUBLISH in request.POST  # type: ignore[attr-defined]
        formset.is_writable = self._may_write(request, obj)  # type: ignore[attr-defined]
        return formset

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say yes: whoever sees the workflow's page sees its steps."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the draft may be written."""
        return self._may_write(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the draft may be written."""
        return self._may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the draft may be written."""
        return self._may_write(request, obj)

    def _may_write(self, request: HttpRequest, workflow: Workflow | None) -> bool:
        page = self.admin_site.get_model_admin(self.parent_model)
        if workflow is None or workflow.pk is None:
            return page.has_add_permission(request)
        return is_draft_offered(request, workflow) and page.has_change_permission(request, workflow)
