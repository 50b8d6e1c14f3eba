"""Who may do what in the admin, asked in one way."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest

APP = "django_workflow"


def is_allowed(request: HttpRequest, permission: str, row: Model | None = None) -> bool:
    """Say whether the user has ``permission`` (of this app, or with its own app label), in general or for
    ``row``.

    Django's own backend answers False whenever it is asked about a row, so both are asked.
    """
    name = permission if "." in permission else f"{APP}.{permission}"
    return request.user.has_perm(name) or (row is not None and request.user.has_perm(name, row))


def check_may_view(page: ModelAdmin[Any], request: HttpRequest, row: Model | None = None) -> None:
    """Raise ``PermissionDenied`` where the user may not see the page, or this row of it."""
    if not page.has_view_permission(request, row):
        raise PermissionDenied
