"""A page that says what will happen and asks for a note, before anything is done by POST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..storable import is_storable_text
from .pages import render_page

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise

CONFIRMED = "confirmed"
MOST_CHARACTERS = 2000
TEMPLATE = "confirm.html"


class NoteForm(forms.Form):
    """Why it is done."""

    note = forms.CharField(
        label=_("Note"),
        help_text=_("Why; kept with each run."),
        required=False,
        max_length=MOST_CHARACTERS,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
    )
    # What it does comes first, why it is done last.
    field_order: Sequence[str] = ()

    def clean_note(self) -> str:
        """Refuse what no database takes."""
        note: str = self.cleaned_data["note"]
        if not is_storable_text(note):
            raise forms.ValidationError(_("The note holds a character that cannot be stored."))
        return note

    def arguments(self) -> dict[str, Any]:
        """Return what was filled in beside the note, without what was left empty."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "note"}
        return {name: value for name, value in given.items() if not self._is_empty(name, value)}

    def _is_empty(self, name: str, value: Any) -> bool:
        # Of JSON everything is a value but nothing at all: 0, false and "" too.
        is_json = isinstance(self.fields[name], forms.JSONField)
        return value is None or (not is_json and value in ("", False))


def ask(
    request: HttpRequest,
    page: admin.ModelAdmin[Any],
    title: Text,
    text: Text,
    *,
    rows: Sequence[Model] = (),
    facts: Sequence[str] = (),
    back: str,
    action: str = "",
    has_note: bool = True,
    form: forms.BaseForm | None = None,
    hidden: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return the page that asks whether to do it; its POST holds ``confirmed``.

    It names ``rows`` and ``facts``, and shows ``form``, or one for a note; ``hidden`` comes back with the
    POST. ``action`` names the list's action that is to be called again; ``back`` is where a no leads.
    """
    context = {
        "text": text,
        "rows": rows,
        "facts": facts,
        "back": back,
        "action": action,
        "form": form or (NoteForm() if has_note else None),
        "hidden": hidden or {},
        "confirmed": CONFIRMED,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return render_page(request, page, TEMPLATE, title=title, needs_forms=True, **context)
