"""The form of an approval's page: what the step's ``form`` declares, and a note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext_lazy as _

from .models.approvable import holds
from .params import declared_params
from .storable import is_storable_text

# Before the names of the declared fields, which may be called anything.
BEFORE = "data."
MAX_NOTE = 2000


class ApprovalForm(forms.Form):
    """A note; the declared fields are added by :func:`make_form`."""

    note_text = forms.CharField(
        label=_("Your note"), required=False, max_length=MAX_NOTE, widget=forms.Textarea(attrs={"rows": 3})
    )

    def data_given(self) -> dict[str, Any]:
        """Return what was filled in, by declared name; what was left empty has its default."""
        return {
            name.removeprefix(BEFORE): value
            for name, value in self.cleaned_data.items()
            if name.startswith(BEFORE) and value not in self.fields[name].empty_values
        }

    def note(self) -> str:
        """Return the note."""
        return str(self.cleaned_data["note_text"])

    def add_problems(self, problems: Mapping[str, list[str]]) -> None:
        """Show what did not fit beside its field."""
        for name, texts in problems.items():
            for text in texts:
                self.add_error(BEFORE + name if BEFORE + name in self.fields else None, text)

    def clean_note_text(self) -> str:
        """Refuse what no database takes."""
        note: str = self.cleaned_data["note_text"]
        if not is_storable_text(note):
            raise forms.ValidationError(_("The note holds a character that cannot be stored."))
        return note


def make_form(
    declared: Mapping[str, Any], user: AbstractBaseUser, data: Mapping[str, Any] | None, *, verdict: str
) -> ApprovalForm:
    """Return the form of an approval, for ``user``; a rejection leaves out what is declared."""
    form = ApprovalForm(data)
    if verdict == "reject":
        return form
    fields = {
        BEFORE + name: _for_user(field, user) for name, field in declared_params(declared).fields().items()
    }
    form.fields = {**fields, **form.fields}
    return form


def _for_user(field: forms.Field, user: AbstractBaseUser) -> forms.Field:
    """Return the field; one that lists rows asks for a key where the user may not view that model."""
    if not isinstance(field, forms.ModelChoiceField) or field.queryset is None:
        return field
    options = field.queryset.model._meta
    if holds(user, f"{options.app_label}.view_{options.model_name}"):
        return field
    return forms.CharField(required=field.required, label=field.label, help_text=field.help_text)
