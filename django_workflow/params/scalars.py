"""Kinds of single values: text, numbers, truth, UUIDs, and anything at all."""

from __future__ import annotations

import re
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, TypeGuard
from uuid import UUID

from django import forms
from django.utils.functional import Promise

from ..codec import MAX_INTEGER, load
from .reading import FieldOptions, JsonSchema, Kind, Misfit, Reading, shown

_WHOLE = re.compile(r"\s*[+-]?\d{1,1000}\s*", re.ASCII)
_TRUTHS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Scalar(Kind):
    """A kind told by its name, form field and JSON Schema."""

    noun: ClassVar[str]
    form_field: ClassVar[type[forms.Field]] = forms.CharField
    json: ClassVar[JsonSchema]

    def field(self, options: FieldOptions) -> forms.Field:
        return self.form_field(**options)

    def schema(self) -> JsonSchema:
        return dict(self.json)

    def look_up(self, name: str) -> Kind | None:
        raise LookupError(f"there is no {name!r} in a single value ({self.noun})")

    def refuse(self, value: object) -> Misfit:
        """Return the error for a value of another type."""
        return Misfit(f"{shown(value)} is no {self.noun}")


class Text(Scalar):
    """``str``: text, and whatever has one plain text form: numbers, dates, UUIDs."""

    noun = "text"
    json = {"type": "string"}

    def convert(self, value: Any, reading: Reading) -> str:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, (int, float, Decimal, UUID, Promise)) and not isinstance(value, bool):
            return str(value)
        raise self.refuse(value)

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.CharField(strip=False, **options)


class Whole(Scalar):
    """``int``: whole numbers, and text or other numbers that are whole."""

    noun = "whole number"
    form_field = forms.IntegerField
    json = {"type": "integer"}

    def convert(self, value: Any, reading: Reading) -> int:
        if isinstance(value, str):
            if _WHOLE.fullmatch(value):
                return int(value)
        elif _is_finite(value) and -MAX_INTEGER < value < MAX_INTEGER and value == int(value):
            return int(value)
        raise self.refuse(value)


class Float(Scalar):
    """``float``: finite numbers, and their text."""

    noun = "number"
    form_field = forms.FloatField
    json = {"type": "number"}

    def convert(self, value: Any, reading: Reading) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
            raise self.refuse(value)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self.refuse(value) from None
        if not _is_finite(number):
            raise self.refuse(value)
        return number


class Truth(Scalar):
    """``bool``: true and false, and the texts people write for them."""

    noun = "true or false"
    form_field = forms.BooleanField
    json = {"type": "boolean"}

    def convert(self, value: Any, reading: Reading) -> bool:
        if isinstance(value, bool):
            return value
        known = _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None
        if known is None:
            raise Misfit(f"{shown(value)} is neither true nor false")
        return known

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.BooleanField(**{**options, "required": False})


class Exact(Scalar):
    """``Decimal``: finite decimals, numbers as they are written, and their text."""

    noun = "decimal number"
    form_field = forms.DecimalField
    json = {"type": ["string", "number"], "format": "decimal"}

    def convert(self, value: Any, reading: Reading) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
            raise self.refuse(value)
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise self.refuse(value) from None
        if not number.is_finite():
            raise self.refuse(value)
        return number


class Identifier(Scalar):
    """``UUID``: UUIDs and their text."""

    noun = "UUID"
    form_field = forms.UUIDField
    json = {"type": "string", "format": "uuid"}

    def convert(self, value: Any, reading: Reading) -> UUID:
        if isinstance(value, UUID):
            return value
        try:
            return UUID(value.strip())
        except (AttributeError, ValueError):
            raise self.refuse(value) from None


class Anything(Scalar):
    """``Any``, or no annotation: the value as it is, with rows in place of references."""

    noun = "value"
    form_field = forms.JSONField
    json = {}

    def look_up(self, name: str) -> None:
        return None

    def convert(self, value: Any, reading: Reading) -> Any:
        return value if reading.using is None else load(value)


class Nothing(Scalar):
    """``None``."""

    noun = "null"
    takes_text = False
    form_field = forms.JSONField
    json = {"type": "null"}

    def convert(self, value: Any, reading: Reading) -> None:
        if value is not None:
            raise self.refuse(value)


def _is_finite(value: object) -> TypeGuard[int | float | Decimal]:
    if isinstance(value, (float, Decimal)):
        return Decimal(value).is_finite()
    return isinstance(value, int) and not isinstance(value, bool)
