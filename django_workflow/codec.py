"""Python values ↔ JSON that every database gives back the same: dates, decimals, keys, model references.

What JSON lacks is stored under a tag, ``{"$date": "2026-01-31"}``. A plain dict with a key that begins with
``$`` is stored as ``{"$dict": {…}}``, so that data from outside never poses as a reference.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string
from django.utils.functional import LazyObject, Promise, empty

from .exceptions import NotStorable, TooLarge
from .references import ModelReference, alias_of, reference_to, why_not_referable
from .storable import is_storable_text

MAX_DEPTH = 100
# json.loads() stops at 4,300 digits, jsonb at 131,072; the largest float is a number of 309.
MAX_INTEGER = 10**1000
# From here on Python writes a float with an exponent, which jsonb rewrites as an integer.
WHOLE_FLOAT = 1e16

_AS_IT_IS = frozenset({bool, NoneType})
_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class _Refused(Exception):
    """Why a value cannot be stored, and the way to it, collected from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.steps: list[str] = []


def encode(value: Any, path: str, *, using: str = "default") -> Any:
    """Return ``value`` as JSON values; references keep their alias where a run on ``using`` needs it.

    Raises ``NotStorable`` naming the place below ``path``, such as ``state.user.avatar`` or ``output[3]``.
    """
    try:
        return _encode(value, using, 0)
    except _Refused as refused:
        raise NotStorable(path + "".join(reversed(refused.steps)), str(refused)) from None


def encode_top_level(values: Mapping[str, Any], path: str, *, using: str = "default") -> dict[str, Any]:
    """Return ``values`` encoded one by one, so that their keys stay as they are, ``$`` included.

    Raises ``NotStorable``.
    """
    stored: dict[str, Any] = encode(values, path, using=using)
    return stored["$dict"] if stored.keys() == {"$dict"} else stored


def decode(stored: Any, *, using: str = "default") -> Any:
    """Return the Python values of what :func:`encode` made, with a ``ModelReference`` for each row.

    Raises ``NotStorable`` for a tag that is unknown or cannot be read.
    """
    return _decode(stored, using)


def load(value: Any) -> Any:
    """Return a copy of decoded ``value``, rows in place of references. Raises ``DeletedReference``."""
    kind = type(value)
    if kind is dict:
        return {key: load(item) for key, item in value.items()}
    if kind is list:
        return [load(item) for item in value]
    return value.fetch() if kind is ModelReference else value


def check_size(stored: Any, path: str, max_bytes: int) -> int:
    """Return the bytes ``stored`` takes as JSON in UTF-8. Raises ``TooLarge`` above ``max_bytes``."""
    text = _JSON.encode(stored)
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        way_out = 'store less, or raise DJANGO_WORKFLOW["MAX_BYTES"]'
        raise TooLarge(path, f"{size} bytes as JSON, and the limit is {max_bytes}: {way_out}")
    return size


def differs(one: Any, other: Any) -> bool:
    """Return whether two stored values differ, be it by type alone: Python takes 1 and True for equal."""
    return bool(one != other) or (one is not other and repr(one) != repr(other))


def _encode(value: Any, using: str, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if is_storable_text(value) else _refuse_text()
    if kind in _AS_IT_IS:
        return value
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value)
    if kind is dict:
        return _encode_mapping(value, using, depth + 1)
    if kind is list or kind is tuple:
        return _encode_items(value, using, depth + 1)
    return _encode_other(value, using, depth)


def _encode_mapping(value: Mapping[Any, Any], using: str, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    stored = {}
    is_escaped = False
    for key, item in value.items():
        name = _plain_key(key)
        is_escaped = is_escaped or name[:1] == "$"
        try:
            stored[name] = _encode(item, using, depth)
        except _Refused as refused:
            refused.steps.append(f".{name}" if name.isidentifier() else f"[{name!r}]")
            raise
    return {"$dict": stored} if is_escaped else stored


def _encode_items(value: list[Any] | tuple[Any, ...], using: str, depth: int) -> list[Any]:
    _check_depth(depth)
    stored: list[Any] = []
    try:
        for item in value:
            stored.append(_encode(item, using, depth))
    except _Refused as refused:
        refused.steps.append(f"[{len(stored)}]")
        raise
    return stored


def _encode_other(value: Any, using: str, depth: int) -> Any:
    if isinstance(value, ModelReference):
        return _encode_reference(value, using)
    if isinstance(value, Model):
        return _encode_instance(value, using)
    if isinstance(value, LazyObject):
        return _encode(_unwrap(value), using, depth)
    if isinstance(value, Enum):
        return _encode(value.value, using, depth)
    if isinstance(value, Promise):
        return _encode(str(value), using, depth)
    if isinstance(value, Mapping):
        return _encode_mapping(value, using, depth + 1)
    if isinstance(value, (list, tuple)):
        return _encode_items(value, using, depth + 1)
    return _encode_subclass(value, using, depth)


def _encode_subclass(value: Any, using: str, depth: int) -> Any:
    if isinstance(value, str):
        return _encode(str.__str__(value), using, depth)
    for base, encoder in _ENCODERS.items():
        if isinstance(value, base):
            return encoder(value)
    raise _Refused(_why_unknown(value))


def _unwrap(value: LazyObject[Any]) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped


def _encode_instance(value: Model, using: str) -> dict[str, Any]:
    reason = why_not_referable(value)
    if reason:
        raise _Refused(reason)
    return _encode_reference(reference_to(value, None if value._state.db else using), using)


def _encode_reference(value: ModelReference, using: str) -> dict[str, Any]:
    if isinstance(value.pk, str) and not is_storable_text(value.pk):
        _refuse_text()
    stored = {"$model": value.model, "pk": value.pk}
    return stored if value.using == alias_of(value.model, using) else {**stored, "using": value.using}


def _encode_integer(value: int) -> int:
    if not -MAX_INTEGER < value < MAX_INTEGER:
        raise _Refused("an integer of over 1,000 digits: store it as text")
    return int.__int__(value)


def _encode_float(value: float) -> int | float:
    if value - value != 0:
        raise _Refused(f"{value!r} is no JSON number: use None, or text")
    if abs(value) >= WHOLE_FLOAT:
        return int(value)
    return float.__float__(value) + 0.0  # minus zero becomes zero, as jsonb has it


def _encode_decimal(value: Decimal) -> dict[str, str]:
    if not value.is_finite():
        raise _Refused(f"{value!r} is no finite number: use None, or text")
    return {"$decimal": Decimal.__str__(value)}


# Subclasses stand before their bases: a datetime is a date.
_ENCODERS: dict[type, Callable[[Any], Any]] = {
    int: _encode_integer,
    float: _encode_float,
    datetime: lambda value: {"$datetime": datetime.isoformat(value)},
    date: lambda value: {"$date": date.isoformat(value)},
    time: lambda value: {"$time": time.isoformat(value)},
    timedelta: lambda value: {"$timedelta": duration_iso_string(value)},
    Decimal: _encode_decimal,
    UUID: lambda value: {"$uuid": str(value)},
}


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise _Refused(f"the key {key!r} is a {type(key).__name__}, not text")
    if not is_storable_text(key):
        raise _Refused(f"the key {key!r} has a NUL or a lone surrogate")
    if type(key) is str:
        return key
    return str.__str__(key.value if isinstance(key, Enum) else key)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Refused(f"nested more than {MAX_DEPTH} deep, or within itself")


def _refuse_text() -> None:
    raise _Refused("text with a NUL or a lone surrogate: replace them first")


def _why_unknown(value: Any) -> str:
    name = type(value).__name__
    if getattr(value, "is_anonymous", False) is True:
        return why_not_referable(value)
    if dataclasses.is_dataclass(value):
        return f"{name} is a dataclass: give dataclasses.asdict() of it"
    if isinstance(value, (set, frozenset)):
        return f"a {name} has no order and no place in JSON: give a sorted list"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{name} cannot be kept as JSON: give text, or store a file and give its name"
    return f"a {name} cannot be kept as JSON: give plain values, dates, decimals or a saved model instance"


def _duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if duration is None:
        raise ValueError(text)
    return duration


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": _duration,
    "$decimal": Decimal,
    "$uuid": UUID,
}


def _decode(stored: Any, using: str) -> Any:
    kind = type(stored)
    if kind is dict:
        decoded = {}
        for key, item in stored.items():
            if key[:1] == "$":
                return _decode_tagged(stored, using)
            decoded[key] = _decode(item, using)
        return decoded
    return [_decode(item, using) for item in stored] if kind is list else stored


def _decode_tagged(stored: dict[str, Any], using: str) -> Any:
    try:
        if "$model" in stored:
            label = stored["$model"]
            return ModelReference(label, stored["pk"], stored.get("using") or alias_of(label, using))
        [(tag, content)] = stored.items()
        if tag == "$dict":
            return {key: _decode(item, using) for key, item in content.items()}
        return _DECODERS[tag](content)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        tags = ", ".join(sorted(key for key in stored if key[:1] == "$"))
        reason = f"cannot read what is tagged {tags}: damaged, or written by a later release"
        raise NotStorable("stored data", reason) from error
