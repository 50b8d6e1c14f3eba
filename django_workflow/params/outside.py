"""The kind of a pydantic model. It is known by its methods, so that pydantic need not be installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django import forms

from ..codec import load
from .reading import FieldOptions, JsonSchema, Kind, Misfit, Reading, shown


class Validating(Protocol):
    """What is used of a pydantic model class."""

    def model_validate(self, obj: Any, /) -> Any: ...

    def model_json_schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Validated(Kind):
    """A pydantic model, made from a mapping. With an expression in it, it is validated at the call only."""

    model: Validating
    takes_text = False

    def convert(self, value: Any, reading: Reading) -> Any:
        if isinstance(value, (str, list)):
            raise Misfit(f"{shown(value)} is no mapping")
        if reading.using is None and has_unknown(value, reading):
            return value
        try:
            return self.model.model_validate(value if reading.using is None else load(value))
        except ValueError as error:
            raise Misfit(*_problems(error)) from error

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.JSONField(**options)

    def schema(self) -> JsonSchema:
        return self.model.model_json_schema()


def has_unknown(value: Any, reading: Reading) -> bool:
    """Tell whether an expression stands anywhere within ``value``."""
    if reading.is_expression(value) or (isinstance(value, str) and "{{" in value):
        return True
    if isinstance(value, Mapping):
        return any(has_unknown(each, reading) for each in value.values())
    return isinstance(value, (list, tuple)) and any(has_unknown(each, reading) for each in value)


def _problems(error: ValueError) -> list[str]:
    errors = getattr(error, "errors", None)
    if errors is None:
        return [str(error)]
    return ["".join(f"[{step!r}]" for step in each["loc"]) + f" {each['msg']}".rstrip() for each in errors()]
