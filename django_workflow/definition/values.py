"""The values expressions work on: what kinds there are, how each reads as text, how large they may be.

Everything here raises ``ValueError`` with a message for a person; :mod:`.evaluation` adds the expression.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Protocol, TypeGuard, runtime_checkable
from uuid import UUID

MAX_DEPTH = 100
MAX_DIGITS = 4_000  # below Python's own limit of 4,300, which would raise a bare ValueError in str()


class NoOutput(Enum):
    """The type of :data:`NO_OUTPUT`."""

    NO_OUTPUT = "no output"


NO_OUTPUT: Final = NoOutput.NO_OUTPUT
"""Stands for a step without output (not run, skipped): it reads as null, and so does every lookup on it."""


@runtime_checkable
class Readable(Protocol):
    """An object whose fields expressions may read, such as a model reference; ``str()`` names it."""

    def lookup(self, name: str) -> Any:
        """Return the field ``name``. Raises ``LookupError`` with a message where it may not be read."""


class Kind(Enum):
    """What sort of value something is; the text is for messages."""

    NULL = "null"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    TEXT = "text"
    LIST = "a list"
    MAPPING = "a dict"
    DATETIME = "a date and time"
    DATE = "a date"
    TIME = "a time"
    DURATION = "a duration"
    UUID = "a UUID"
    READABLE = "a model reference"


_EXACT: dict[type, Kind] = {
    type(None): Kind.NULL,
    NoOutput: Kind.NULL,
    bool: Kind.BOOLEAN,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    Decimal: Kind.NUMBER,
    str: Kind.TEXT,
    list: Kind.LIST,
    tuple: Kind.LIST,
    dict: Kind.MAPPING,
    datetime: Kind.DATETIME,
    date: Kind.DATE,
    time: Kind.TIME,
    timedelta: Kind.DURATION,
    UUID: Kind.UUID,
}
_UNQUOTED = frozenset({Kind.LIST, Kind.MAPPING, Kind.NULL, Kind.READABLE})


def is_readable(value: object) -> TypeGuard[Readable]:
    """Tell whether ``value`` is a :class:`Readable`; Python 3.11's ``isinstance`` would touch the value."""
    return callable(getattr(type(value), "lookup", None))


def find_kind(value: object) -> Kind | None:
    """Return the kind of ``value``, or None for a foreign object, which expressions must not touch."""
    kind = _EXACT.get(type(value))
    if kind is not None:
        return kind
    if is_readable(value):
        return Kind.READABLE
    if isinstance(value, Mapping):
        return Kind.MAPPING
    return next((kind for known, kind in _EXACT.items() if isinstance(value, known)), None)


def kind_of(value: object) -> Kind:
    """Return the kind of ``value``. Raises ``ValueError`` for a foreign object."""
    kind = find_kind(value)
    if kind is None:
        raise ValueError(f"an object of Python's class {type(value).__name__} cannot be read in expressions")
    return kind


def describe(value: object) -> str:
    """Return what ``value`` is, for a message: ``text ('1200.00')``, ``a number (1000)``, ``null``."""
    kind = find_kind(value)
    if kind is None:
        return f"an object of Python's class {type(value).__name__}"
    if kind is Kind.READABLE:
        return f"a {value}"
    if kind in _UNQUOTED or (isinstance(value, (int, Decimal)) and not is_modest(value)):
        return str(kind.value)
    shown = repr(plain_text(value)) if isinstance(value, str) else str(value)
    return f"{kind.value} ({shown if len(shown) <= 40 else shown[:39] + '…'})"


def is_true(value: object) -> bool:
    """Return the truth of ``value`` as Django's ``{% if %}`` sees it; a model reference is always true."""
    kind = kind_of(value)
    return kind is Kind.READABLE or (kind is not Kind.NULL and bool(value))


def is_modest(value: object) -> bool:
    """Tell whether a number is finite and short enough to be turned into text or a whole number."""
    if isinstance(value, int):
        return abs(value).bit_length() <= MAX_DIGITS * 3
    if isinstance(value, Decimal):
        digits = len(value.as_tuple().digits)
        return value.is_finite() and abs(value.adjusted()) <= MAX_DIGITS and digits <= MAX_DIGITS
    return not isinstance(value, float) or math.isfinite(value)


def plain_text(value: str) -> str:
    """Return exactly a ``str``: ``str()`` would hand a SafeString back as it is."""
    text: str = str.__str__(value)
    return text


def text_size(text: str) -> int:
    """Return the length of ``text`` in UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Budget:
    """What is left of a size limit, in bytes of (roughly) JSON."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def spend(self, size: int) -> None:
        """Take ``size`` bytes. Raises ``ValueError`` where fewer are left."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"the result is larger than {self.limit:,} bytes")


def settle(value: Any, budget: Budget, depth: int = 0) -> Any:
    """Return ``value`` as a copy of plain dicts, lists and text, its size taken from ``budget``.

    A copy, because a handler that changes its params must not change the state behind them.
    The size is that of JSON text before escapes. Raises ``ValueError`` for the large, deep or foreign.
    """
    kind = kind_of(value)
    if depth > MAX_DEPTH:
        raise ValueError(f"the value is nested more than {MAX_DEPTH} deep")
    if kind is Kind.LIST:
        budget.spend(2 * len(value))
        return [settle(item, budget, depth + 1) for item in value]
    if kind is Kind.MAPPING:
        budget.spend(4 * len(value))
        return {_settle_key(key, budget): settle(item, budget, depth + 1) for key, item in value.items()}
    budget.spend(_scalar_size(value, kind))
    if kind is Kind.TEXT:
        return plain_text(value)
    return None if kind is Kind.NULL else value


def _settle_key(key: object, budget: Budget) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the keys of a dict are text, and {describe(key)} is not")
    budget.spend(text_size(key))
    return plain_text(key)


def _scalar_size(value: Any, kind: Kind) -> int:
    if kind is Kind.TEXT:
        return text_size(value)
    if kind is Kind.NUMBER:
        require_modest(value)
        return len(str(value))
    return 0 if kind is Kind.NULL else 32


def require_modest(value: object) -> None:
    """Raise ``ValueError`` for a number that is not finite, or has more than some 4,000 digits."""
    if not is_modest(value):
        raise ValueError(f"a number is not finite, or has more than {MAX_DIGITS:,} digits")


def as_text(value: Any, limit: int) -> str:
    """Return ``value`` as it reads inside a text, of at most ``limit`` bytes.

    Null is empty, dicts and lists are JSON, all else is Python's ``str()``: nothing is localised.
    Raises ``ValueError`` where that cannot be, as for a model reference.
    """
    kind = kind_of(value)
    if kind is Kind.READABLE:
        raise ValueError(f"it is a {value}; name a field of it, such as its .id")
    if kind in (Kind.LIST, Kind.MAPPING):
        settled = settle(value, Budget(limit))
        text = json.dumps(settled, ensure_ascii=False, default=lambda item: as_text(item, limit))
    else:
        settled = settle(value, Budget(max(limit, MAX_DIGITS)))
        text = "" if settled is None else str(settled)
    Budget(limit).spend(text_size(text))
    return text
