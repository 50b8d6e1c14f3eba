"""Form fields for JSON: shown indented, kept as typed, refused where a database could not take it."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext as _

from ..codec import check_size, encode
from ..conf import get_settings
from ..exceptions import NotStorable
from .showing import write_json

_WORD = re.compile(r"[A-Za-z_][\w.-]*")
_JSON_WORDS = frozenset({"null", "true", "false"})


class ReadableJSONField(forms.JSONField):
    """JSON, indented; nothing where there is none. What is typed comes back as it was typed."""

    def to_python(self, value: Any) -> Any:
        """Return the value of the text. Raises ``ValidationError`` for what is no JSON, or cannot be
        stored."""
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            converted = json.loads(value)
            encode(converted, _("the value"))
        except NotStorable as error:
            raise ValidationError(str(error), code="invalid") from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(self._say_where(error), code="invalid") from error
        return converted

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what was typed, to be shown as it is."""
        return initial if self.disabled else InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        """Return the text to show."""
        return value if isinstance(value, InvalidJSONInput) else "" if value is None else write_json(value)

    def _say_where(self, error: Exception) -> str:
        text = str(self.error_messages["invalid"])
        return f"{text} ({error})" if isinstance(error, json.JSONDecodeError) else text


class DraftJSONField(ReadableJSONField):
    """JSON of a draft: no more than a step could be given."""

    def to_python(self, value: Any) -> Any:
        """Return the value of the text. Raises ``ValidationError`` like any JSON field, and where it is too
        large."""
        converted = super().to_python(value)
        try:
            check_size(converted, _("the value"), get_settings().MAX_BYTES)
        except NotStorable as error:
            raise ValidationError(str(error), code="invalid") from error
        return converted


class WordOrJSONField(DraftJSONField):
    """JSON, or one bare word, which is text: ``jump``, ``continue``, ``refuse``."""

    def to_python(self, value: Any) -> Any:
        """Return the word, or the value of the JSON. Raises ``ValidationError`` like any JSON field."""
        word = value.strip() if isinstance(value, str) else ""
        return word if _WORD.fullmatch(word) and word not in _JSON_WORDS else super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        """Return the text to show."""
        is_word = isinstance(value, str) and _WORD.fullmatch(value) and value not in _JSON_WORDS
        return value if is_word else super().prepare_value(value)


class ParamsField(DraftJSONField):
    """A step's params: nothing typed is an empty mapping."""

    def to_python(self, value: Any) -> Any:
        """Return the params, None for empty ones. Raises ``ValidationError`` like any JSON field."""
        return super().to_python(value) or None

    def clean(self, value: Any) -> Any:
        """Return the params. Raises ``ValidationError`` like any JSON field."""
        return super().clean(value) or {}

    def prepare_value(self, value: Any) -> Any:
        """Return the text to show."""
        return "" if value == {} else super().prepare_value(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether the params differ; nothing is the same as an empty mapping."""
        return super().has_changed(initial or None, data)
