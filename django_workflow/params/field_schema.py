"""The JSON Schema of a form field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms

from .reading import JsonSchema

# The first class that fits: subclasses stand before their bases.
_TYPES: tuple[tuple[type[forms.Field], JsonSchema], ...] = (
    (forms.DecimalField, {"type": ["string", "number"], "format": "decimal"}),
    (forms.FloatField, {"type": "number"}),
    (forms.IntegerField, {"type": "integer"}),
    (forms.NullBooleanField, {"type": ["boolean", "null"]}),
    (forms.BooleanField, {"type": "boolean"}),
    (forms.DateTimeField, {"type": "string", "format": "date-time"}),
    (forms.DateField, {"type": "string", "format": "date"}),
    (forms.TimeField, {"type": "string", "format": "time"}),
    (forms.DurationField, {"type": ["string", "number"], "format": "duration"}),
    (forms.UUIDField, {"type": "string", "format": "uuid"}),
    (forms.EmailField, {"type": "string", "format": "email"}),
    (forms.URLField, {"type": "string", "format": "uri"}),
    (forms.JSONField, {}),
    (forms.CharField, {"type": "string"}),
)
_BOUNDS = {
    "min_value": "minimum",
    "max_value": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}


def field_schema(field: forms.Field) -> JsonSchema:
    """Return the type of ``field``, its bounds and its choices; rows are named by their key."""
    if isinstance(field, forms.ModelMultipleChoiceField):
        return {"type": "array", "items": _row_schema(field)}
    if isinstance(field, forms.ModelChoiceField):
        return _row_schema(field)
    if isinstance(field, forms.MultipleChoiceField):
        return {"type": "array", "items": {"enum": list(_choices(field.choices))}}
    if isinstance(field, forms.ChoiceField):
        return {"enum": list(_choices(field.choices))}
    schema = next((schema for kind, schema in _TYPES if isinstance(field, kind)), {})
    bounds = {word: getattr(field, name, None) for name, word in _BOUNDS.items()}
    return {**schema, **{word: bound for word, bound in bounds.items() if isinstance(bound, (int, float))}}


def _row_schema(field: forms.ModelChoiceField[Any]) -> JsonSchema:
    model = field.queryset.model if field.queryset is not None else None
    key = {"description": f"the key of a {model._meta.label}"} if model is not None else {}
    return {"type": ["integer", "string"], **key}


def _choices(choices: Any) -> Iterator[Any]:
    """Yield the values, those in groups too; the blank one stands for none."""
    for value, label in choices:
        if isinstance(label, (list, tuple)):
            yield from _choices(label)
        elif value not in ("", None):
            yield value if isinstance(value, (int, float)) else str(value)
