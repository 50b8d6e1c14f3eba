"""Who may do what in the admin, asked in one way."""

from __future__ import annotations

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
