"""The values that a definition may hold: JSON data, and what becomes it without loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..durations import format_duration
from ..storable import is_storable_text

MAX_DEPTH = 100
MAX_DIGITS = 1000
_TEXT_KINDS = (Decimal, UUID, date, datetime, time)


def is_too_deep(data: Any) -> bool:
    """Tell whether ``data`` is nested more than :data:`MAX_DEPTH` deep, without recursing itself."""
    waiting = [(data, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return True
        if isinstance(value, (Mapping, list, tuple)):
            inner = value.values() if isinstance(value, Mapping) else value
            waiting.extend((each, depth + 1) for each in inner)
    return False


def plain(value: Any, path: str = "") -> Any:
    """Return ``value`` as JSON data: dates, decimals, UUIDs and durations become text.

    Raises ``ValueError`` naming the path.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, _TEXT_KINDS):
        return value.isoformat() if isinstance(value, (date, time)) else str(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} of {path or 'it'} is not text: put it in quotes")
        return {key: plain(each, f"{path}.{key}" if path else key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each, f"{path}[{index}]") for index, each in enumerate(value)]
    return plain_scalar(value, path)


def plain_scalar(value: Any, path: str = "") -> Any:
    """Return ``value`` if it is null, a boolean, a finite number or text that databases keep.

    Raises ``ValueError`` naming the path.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path or 'it'} is {value}, which JSON does not know")
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"{path or 'it'} is a number of more than {MAX_DIGITS:,} digits")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        if not is_storable_text(value):
            raise ValueError(f"{path or 'it'} holds NUL or a lone surrogate, which no database keeps")
        return str(value)
    kind = type(value).__name__
    raise ValueError(f"{path or 'it'} is a {kind}: definitions hold text, numbers, lists and mappings")
