"""The form of an approval's pages: what the step's ``form`` declares, and a note; and how it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Model
from django.utils.translation import gettext_lazy as _

from .engine.approvals import answer
from .exceptions import NotStorable, ParamsError
from .models import StepRun
from .models.approvable import holds
from .params import declared_params
from .references import read_key
from .storable import is_storable_text

# Before the names of the declared fields, which may be called anything.
BEFORE = "data."
MAX_NOTE = 2000
# What the buttons send, as the verdict.
APPROVE, REJECT = "approve", "reject"


class RowKeyField(forms.CharField):
    """Asks for the key of a row where the user may not view all of that model."""

    def __init__(self, field: forms.ModelChoiceField[Model], user: AbstractBaseUser) -> None:
        assert field.queryset is not None
        self.rows, self.user = field.queryset, user
        super().__init__(required=field.required, label=field.label, help_text=field.help_text)

    def clean(self, value: Any) -> Any:
        """Return the row. Raises ``ValidationError``, the same for a missing one and for a hidden one."""
        key = super().clean(value)
        if key in self.empty_values:
            return key
        try:
            row = self.rows.filter(pk=read_key(self.rows.model, key)).first()
        except ValueError:
            row = None
        if row is None or not holds(self.user, _view_permission(self.rows.model), row):
            values = {"key": key, "model": self.rows.model._meta.verbose_name}
            raise forms.ValidationError(_("%(key)s is no %(model)s that you may view."), params=values)
        return row


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

    def verdict(self) -> str:
        """Return which button was pressed; an empty text for none."""
        return str(self.data.get("verdict", ""))

    def lists_rows(self) -> bool:
        """Return whether showing it reads the rows of a model."""
        return any(isinstance(field, forms.ModelChoiceField) for field in self.fields.values())

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
    row: StepRun,
    user: AbstractBaseUser,
    data: Mapping[str, Any] | None = None,
    *,
    auto_id: str = "id_%s",
    adapt: Callable[[Mapping[str, forms.Field]], dict[str, forms.Field]] | None = None,
) -> ApprovalForm:
    """Return the form of the approval ``row``, for ``user``; a rejection leaves out what is declared.

    ``auto_id`` makes the ids of its fields, which a page with several forms has to tell apart. ``adapt``
    makes the declared fields those that the user may fill in; without it, rows are listed to those users who
    may view all of them.
    """
    form = ApprovalForm(data, auto_id=auto_id)
    if form.verdict() == REJECT:
        return form
    declared = {BEFORE + name: field for name, field in _declared(row).items()}
    if adapt is None:
        fields = {name: _for_user(field, user) for name, field in declared.items()}
    else:
        fields = adapt(declared)
    form.fields = {**fields, **form.fields}
    return form


def deadline_of(row: StepRun) -> datetime | None:
    """Return until when the approval ``row`` may be answered."""
    until = (row.awaits or {}).get("until")
    return None if until is None else datetime.fromisoformat(until)


def give_answer(row: StepRun, user: AbstractBaseUser, form: ApprovalForm) -> bool:
    """Answer ``row`` as the form says; what is wrong is then shown in it. Return whether that was done.

    Raises ``NotAllowed`` and ``VerbRefused``, as ``approve`` does: somebody may have been faster.
    """
    if form.verdict() not in (APPROVE, REJECT) or not form.is_valid():
        return False
    using = row._state.db or "default"
    is_approved = form.verdict() == APPROVE
    data = form.data_given() if is_approved else None
    try:
        answer(row.run, row, is_approved=is_approved, by=user, data=data, note=form.note(), using=using)
    except ParamsError as error:
        form.add_problems(error.problems)
    except NotStorable as error:
        form.add_error(None, forms.ValidationError(str(error)))
    return not form.errors


def _declared(row: StepRun) -> Mapping[str, forms.Field]:
    try:
        return declared_params((row.awaits or {})["form"] or {}).fields()
    except ParamsError:
        return {}  # It names a model that is gone: to approve says so, to reject needs none of it.


def _view_permission(model: type[Model]) -> str:
    return f"{model._meta.app_label}.{get_permission_codename('view', model._meta)}"


def _for_user(field: forms.Field, user: AbstractBaseUser) -> forms.Field:
    if not isinstance(field, forms.ModelChoiceField) or field.queryset is None:
        return field
    return field if holds(user, _view_permission(field.queryset.model)) else RowKeyField(field, user)
