"""Fields that pick a row: only models and rows that the person may view on this site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.db.models import ManyToOneRel, Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from .allowed import is_allowed

# So many rows are listed; of more the key is typed, or looked up in the list.
MOST_LISTED = 50


class NoPickField(forms.CharField):
    """Stands where the person may not view rows of that model: nothing can be picked."""

    def __init__(self, *, model: type[Model], field: forms.Field) -> None:
        self.model = model
        super().__init__(
            required=False, disabled=True, label=field.label, help_text=_refusal(model), initial=""
        )
        self.is_needed = field.required

    def clean(self, value: Any) -> Any:
        """Refuse where the row is needed."""
        if self.is_needed:
            raise forms.ValidationError(_refusal(self.model))
        return None


def pick_rows(
    fields: Mapping[str, forms.Field], site: AdminSite, request: HttpRequest
) -> dict[str, forms.Field]:
    """Return the fields; those that pick a row offer just the rows that the user may view."""
    return {name: _for_user(field, site, request) for name, field in fields.items()}


def viewable_rows(model: type[Model], site: AdminSite, request: HttpRequest) -> QuerySet[Model] | None:
    """Return the rows of ``model`` that the user may view; None where they may view none."""
    if site.is_registered(model):
        page = site.get_model_admin(model)
        return page.get_queryset(request) if page.has_view_permission(request) else None
    options = model._meta
    permission = f"{options.app_label}.view_{options.model_name}"
    return model._default_manager.all() if is_allowed(request, permission) else None


def _for_user(field: forms.Field, site: AdminSite, request: HttpRequest) -> forms.Field:
    if not isinstance(field, forms.ModelChoiceField) or field.queryset is None:
        return field
    model = field.queryset.model
    rows = viewable_rows(model, site, request)
    if rows is None:
        return NoPickField(model=model, field=field)
    field.queryset = rows
    if rows[: MOST_LISTED + 1].count() > MOST_LISTED:
        assert model._meta.pk is not None
        relation = ManyToOneRel(None, model, model._meta.pk.name)  # type: ignore[arg-type]
        field.widget = ForeignKeyRawIdWidget(relation, site)
    return field


def _refusal(model: type[Model]) -> str:
    return _("You may not view %s, so you cannot pick one.") % model._meta.verbose_name_plural
