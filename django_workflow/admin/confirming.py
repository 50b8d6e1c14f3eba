"""A page that says what will happen and asks for a note, before anything is done by POST."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise

CONFIRMED = "confirmed"
MOST_CHARACTERS = 2000
TEMPLATE = "admin/django_workflow/confirm.html"


class NoteForm(forms.Form):
    """Why it is done."""

    note = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=MOST_CHARACTERS,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
    )


def read_note(request: HttpRequest) -> str:
    """Return the note that came with a confirmation, cut to its limit."""
    # PostgreSQL takes no NUL in a text.
    return request.POST.get("note", "").replace("\0", "").strip()[:MOST_CHARACTERS]


def ask(
    request: HttpRequest,
    page: admin.ModelAdmin[Any],
    title: Text,
    text: Text,
    *,
    rows: Iterable[Model],
    back: str,
    action: str = "",
    has_note: bool = True,
) -> TemplateResponse:
    """Return the page that asks whether to do it to ``rows``; its POST holds ``confirmed``.

    ``action`` names the list's action that is to be called again; ``back`` is where a no leads.
    """
    request.current_app = page.admin_site.name
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "text": text,
        "rows": rows,
        "back": back,
        "action": action,
        "form": NoteForm() if has_note else None,
        "confirmed": CONFIRMED,
        "checkbox": ACTION_CHECKBOX_NAME,
        "opts": page.opts,
        "media": page.media,
    }
    return TemplateResponse(request, TEMPLATE, context)
