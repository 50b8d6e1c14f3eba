"""New instances made fast, for rows that are inserted by the thousand."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from django.db.models import Model

M = TypeVar("M", bound=Model)


@cache
def _defaults(model: type[Model]) -> tuple[tuple[str, Any], ...]:
    """Return each column's attribute with its default: a value, or what makes one."""
    return tuple((field.attname, field.get_default) for field in model._meta.concrete_fields)


def make(model: type[M], **values: Any) -> M:
    """Return ``model(**values)``, several times faster; foreign keys are given by their column (``run_id``).

    Django sets the fields one by one when they are given in their order, as it does for what it has read.
    """
    given = [values.pop(name) if name in values else default() for name, default in _defaults(model)]
    if values:
        raise TypeError(f"{model.__name__} has no {', '.join(values)}")
    return model(*given)
