"""What the comparisons of conditions answer for two values, and which they refuse.

Values of different kinds are unequal (also a number and a boolean); to order them, or null, is an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .values import Kind, describe, kind_of

Comparison = Callable[[Any, Any], bool]

_ORDERED = frozenset({Kind.NUMBER, Kind.TEXT, Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.DURATION})


def equals(left: Any, right: Any) -> bool:
    """Tell whether two values are equal; numbers of all types compare, a float by the digits it shows."""
    kind = kind_of(left)
    if kind is not kind_of(right):
        return False
    if kind is Kind.LIST:
        return len(left) == len(right) and all(map(equals, left, right))
    if kind is Kind.MAPPING:
        return left.keys() == right.keys() and all(equals(left[key], right[key]) for key in left)
    return bool(_as_digits(left, right) == _as_digits(right, left))


def contains(container: Any, item: Any) -> bool:
    """Tell whether ``item`` is part of a text, in a list, or a key of a dict. Raises ``ValueError``."""
    kind = kind_of(container)
    if kind is Kind.LIST:
        return any(equals(item, each) for each in container)
    if kind not in (Kind.TEXT, Kind.MAPPING):
        raise ValueError(f"cannot look into {describe(container)}, only into text, a list or a dict")
    if not isinstance(item, str):
        raise ValueError(f"cannot look for {describe(item)} in {kind.value}, only for text")
    return item in container


def _as_digits(number: Any, other: Any) -> Any:
    """Return ``number`` as ``other`` can meet it: Python takes the float 0.1 by its binary value."""
    return Decimal(repr(number)) if isinstance(number, float) and isinstance(other, Decimal) else number


def _order(compare: Comparison) -> Comparison:
    def ordered(left: Any, right: Any) -> bool:
        kind = kind_of(left)
        if kind is not kind_of(right) or kind not in _ORDERED:
            raise ValueError(f"cannot compare {describe(left)} with {describe(right)}")
        try:
            return bool(compare(_as_digits(left, right), _as_digits(right, left)))
        except TypeError as error:
            reason = "one has a time zone and the other has none"
            raise ValueError(f"cannot compare {describe(left)} with {describe(right)}: {reason}") from error

    return ordered


def _is(left: Any, right: Any) -> bool:
    return left is right


COMPARISONS: dict[str, Comparison] = {
    "==": equals,
    "!=": lambda left, right: not equals(left, right),
    "<=": _order(operator.le),
    ">=": _order(operator.ge),
    "<": _order(operator.lt),
    ">": _order(operator.gt),
    "in": lambda left, right: contains(right, left),
    "not in": lambda left, right: not contains(right, left),
    "is": _is,
    "is not": lambda left, right: not _is(left, right),
}
