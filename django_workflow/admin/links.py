"""Links above a page, by the admin site that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import NoReverseMatch, reverse

from ..references import key_of

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where to, and what it is called."""

    url: str
    label: str | _StrPromise


def row_url(site: AdminSite, row: Model, page: str = "change") -> str:
    """Return the address of a row's page on ``site``."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[quote(key_of(row))], current_app=site.name)


def list_url(site: AdminSite, model: type[Model], **filters: object) -> str:
    """Return the address of the model's list on ``site``, filtered; an empty text where it has none."""
    try:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        url = reverse(name, current_app=site.name)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(filters)}" if filters else url
