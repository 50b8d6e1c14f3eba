"""Kinds behind our own annotations: names of secrets and steps, and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms

from ..conf import get_settings
from .reading import FieldOptions, JsonSchema, Misfit, Reading, shown
from .scalars import Text, Truth


class SecretKind(Text):
    """``Secret``: a name in ``DJANGO_WORKFLOW["SECRETS"]``, read as its value, which no message shows."""

    has_marker = "secret"

    @property
    def is_literal(self) -> bool:
        return True

    def secrets(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value

    def convert(self, value: Any, reading: Reading) -> str:
        secrets = get_settings().SECRETS
        if isinstance(value, str) and "{{" in value:
            raise Misfit("the name of a secret must be written as it is: it can't be an expression")
        if not isinstance(value, str) or value not in secrets:
            known = ", ".join(sorted(secrets)) or "none"
            raise Misfit(f'this is no name in DJANGO_WORKFLOW["SECRETS"]; known: {known}')
        if reading.using is None:
            return value
        secret = secrets[value]
        return str(secret() if callable(secret) else secret)

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.ChoiceField(choices=_secret_choices, **options)


class StepNameKind(Text):
    """``StepName``: the name of a step; that it exists is checked where the whole definition is known."""

    has_marker = "step"
    noun = "step name"

    def convert(self, value: Any, reading: Reading) -> str:
        if not isinstance(value, str) or not value:
            raise self.refuse(value)
        return str.__str__(value)


class ConditionKind(Truth):
    """``Condition``: the text of a condition when published, its truth at the call."""

    has_marker = "condition"

    def convert(self, value: Any, reading: Reading) -> bool:
        if isinstance(value, bool) or (isinstance(value, str) and reading.using is None):
            return value  # type: ignore[return-value]
        raise Misfit(f"{shown(value)} is no condition")

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.CharField(**options)

    def schema(self) -> JsonSchema:
        return {"type": ["string", "boolean"], "description": "a condition"}


def _secret_choices() -> list[tuple[str, str]]:
    return [("", "---------"), *((name, name) for name in sorted(get_settings().SECRETS))]
