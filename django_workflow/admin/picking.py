"""Declared fields as a person fills them in; a row is picked among those that they may view on this site."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.db.models import ManyToOneRel, Model, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from ..references import read_key
from .allowed import is_allowed
from .json_fields import ReadableJSONField
from .links import row_url
from .verb_forms import JSON_BOX

# So many rows are listed; of more the key is typed, or looked up in the list.
MOST_LISTED = 50
# The browser's own ways to pick these: they need no script, and send what Django reads in any language.
_WIDGETS: Mapping[type[forms.Field], forms.Widget] = {
    forms.DateField: forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    forms.DateTimeField: forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M:%S"),
    forms.TimeField: forms.TimeInput(attrs={"type": "time"}, format="%H:%M:%S"),
}


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


class KeyInput(ForeignKeyRawIdWidget):
    """The key of a row, to be typed or looked up; the row is named only where the person may view it."""

    def __init__(self, rows: QuerySet[Model], site: AdminSite) -> None:
        self.rows = rows
        options = rows.model._meta
        assert options.pk is not None
        relation = ManyToOneRel(None, rows.model, options.pk.name)  # type: ignore[arg-type]
        super().__init__(relation, site, using=rows.db)

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        """Return the row's name and the address of its page."""
        try:
            row = self.rows.filter(pk=read_key(self.rows.model, value)).first()
        except ValueError:
            row = None
        if row is None:
            return "", ""
        name = Truncator(row).words(14)
        try:
            return name, row_url(self.admin_site, row)
        except NoReverseMatch:
            return name, ""


def adapt_fields(
    fields: Mapping[str, forms.Field], site: AdminSite, request: HttpRequest
) -> dict[str, forms.Field]:
    """Return the fields as the admin shows them; those that pick a row offer what the user may view."""
    return {name: _adapt(field, site, request) for name, field in fields.items()}


def viewable_rows(model: type[Model], site: AdminSite, request: HttpRequest) -> QuerySet[Model] | None:
    """Return the rows of ``model`` that the user may view; None where they may view none."""
    if site.is_registered(model):
        page = site.get_model_admin(model)
        return page.get_queryset(request) if page.has_view_permission(request) else None
    options = model._meta
    permission = f"{options.app_label}.view_{options.model_name}"
    return model._default_manager.all() if is_allowed(request, permission) else None


def _adapt(field: forms.Field, site: AdminSite, request: HttpRequest) -> forms.Field:
    if isinstance(field, forms.ModelChoiceField):
        return _adapt_rows(field, site, request)
    if isinstance(field, forms.JSONField):
        box = {"required": field.required, "label": field.label, "initial": field.initial}
        return ReadableJSONField(**box, help_text=field.help_text or "JSON", widget=JSON_BOX)
    if isinstance(field, forms.TypedChoiceField) and field.required and field.initial is None:
        # The browser shows the first one as chosen.
        field.initial = next(iter(field.widget.choices))[0]
    if isinstance(field, (forms.DateTimeField, forms.TimeField)) and field.initial is not None:
        field.initial = field.to_python(field.initial)
    if type(field) in _WIDGETS:
        field.widget = deepcopy(_WIDGETS[type(field)])
        if getattr(field.initial, "microsecond", 0):
            _keep_microseconds(field)
    return field


def _keep_microseconds(field: forms.Field) -> None:
    # A browser's own field for a time has milliseconds at most, and shows nothing for more digits.
    field.widget.input_type = "text"
    field.widget.format += ".%f"
    field.widget.supports_microseconds = True


def _adapt_rows(field: forms.ModelChoiceField[Model], site: AdminSite, request: HttpRequest) -> forms.Field:
    assert field.queryset is not None
    model = field.queryset.model
    rows = viewable_rows(model, site, request)
    if rows is None:
        return NoPickField(model=model, field=field)
    field.queryset = rows
    if rows[: MOST_LISTED + 1].count() > MOST_LISTED:
        field.widget = KeyInput(rows, site)
    return field


def _refusal(model: type[Model]) -> str:
    return _("You may not view %s, so you cannot pick one.") % model._meta.verbose_name_plural
