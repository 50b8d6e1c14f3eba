"""What a parsed expression does: look its names up, and send the value through its filters.

Lookups walk dicts, lists and readable objects, never Python attributes; nothing is called, and values are
never parsed again. Faults within are ``ValueError``; :class:`Expression` turns them into ``ExpressionError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import ExpressionError
from ..spelling import closest, cut, some
from .filters import ON_REFERENCES, Filter, to_local_time
from .values import (
    NO_OUTPUT,
    Budget,
    Kind,
    as_text,
    describe,
    is_readable,
    is_true,
    kind_of,
    require_modest,
    settle,
    text_size,
)

MAX_BYTES = 1024 * 1024

_FALLBACKS = frozenset({"default", "default_if_none"})
_NAMES_SHOWN = 20
# What a filter of the closed set raises on values it cannot work with.
_FILTER_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class _Missing(ValueError):
    """A name that is not there: what ``|default:`` covers, unlike any other error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A constant, or where ``path`` is not empty, a lookup."""

    value: Any = None
    path: tuple[str, ...] = ()

    def read(self, scope: Mapping[str, Any]) -> Any:
        """Return the value. Raises ``ValueError``, as do all parts of an expression."""
        return _walk(self.path, scope) if self.path else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCall:
    """One filter of an expression, with its arguments: none, or one."""

    name: str
    function: Filter
    arguments: tuple[Operand, ...]

    def apply(self, value: Any, scope: Mapping[str, Any], limit: int) -> Any:
        """Return what the filter makes of ``value``."""
        arguments = [argument.read(scope) for argument in self.arguments]
        if self.name in _FALLBACKS:
            return arguments[0]
        if any(kind_of(argument) in (Kind.LIST, Kind.MAPPING) for argument in arguments):
            raise ValueError(
                f"|{self.name}: its argument is a list or dict, and may only be text or a number"
            )
        for each in (value, *arguments):
            require_modest(each)
            if kind_of(each) is Kind.READABLE and self.name not in ON_REFERENCES:
                raise ValueError(f"|{self.name}: it is {describe(each)}; name a field of it, such as its .id")
        try:
            result = self.function(to_local_time(self.name, value), *arguments, limit=limit)
        except _FILTER_ERRORS as error:
            raise ValueError(f"|{self.name} on {describe(value)}: {error}") from error
        # Text is checked at once; a container out of a filter is no larger than what went in.
        return as_text(result, limit) if isinstance(result, str) else result

    def leaves(self, value: Any) -> bool:
        """Tell whether this is a default that ``value`` does not need; its argument is then not even read."""
        if self.name == "default":
            return is_true(value)
        return self.name == "default_if_none" and value is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression, without braces.

    ``references``: the paths it looks up, those of arguments too; ``demanded``: those of them that no
    ``|default:`` stands in for.
    """

    source: str
    references: frozenset[tuple[str, ...]]
    demanded: frozenset[tuple[str, ...]]
    start: Operand = field(compare=False, repr=False)
    calls: tuple[FilterCall, ...] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{{{{ {self.source} }}}}"

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> Any:
        """Return the value over the names of ``scope``: a copy, which keeps its type.

        Its size, as JSON before escapes, is at most ``max_bytes``. Raises ``ExpressionError`` for a missing
        name without a default, a filter that fails, or a value that is too large, too deep or foreign.
        """
        return self.evaluate_within(Budget(max_bytes), scope)

    def evaluate_within(self, budget: Budget, scope: Mapping[str, Any]) -> Any:
        """Return :meth:`evaluate`'s value, its size taken from ``budget``."""
        try:
            return settle(self._resolve(scope, budget.limit), budget)
        except ValueError as error:
            raise ExpressionError(f"{self}: {error}") from error

    def evaluate_text(self, budget: Budget, scope: Mapping[str, Any]) -> str:
        """Return the value as it reads within a text, its size taken from ``budget``."""
        try:
            text = as_text(self._resolve(scope, budget.limit), budget.limit)
            budget.spend(text_size(text))
        except ValueError as error:
            raise ExpressionError(f"{self}: {error}") from error
        return text

    def _resolve(self, scope: Mapping[str, Any], limit: int) -> Any:
        value, missing = None, None
        try:
            value = self.start.read(scope)
        except _Missing as error:
            missing = error
        for call in self.calls:
            if missing is None and call.leaves(value):
                continue
            if missing is not None and call.name != "default":
                continue
            try:
                value, missing = call.apply(value, scope, limit), None
            except _Missing as error:
                missing = error
        if missing is not None:
            raise missing
        return value


def _walk(path: tuple[str, ...], scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for position, name in enumerate(path):
        if value is NO_OUTPUT:
            return None
        value = _look_up(value, name, ".".join(path[:position]))
    kind_of(value)
    return None if value is NO_OUTPUT else value


def _look_up(value: Any, name: str, where: str) -> Any:
    if isinstance(value, Mapping):
        try:
            return value[name]
        except KeyError:
            raise _Missing(_explain_missing(value, name, where)) from None
    if isinstance(value, (list, tuple)):
        if name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            return value[int(name)]
        raise _Missing(f"{where} is a list of {len(value)} and has no {name!r}")
    if is_readable(value):
        try:
            return value.lookup(name)
        except LookupError as error:
            raise _Missing(str(error.args[0]) if error.args else f"{value} has no {name!r}") from error
    raise _Missing(f"{where} is {describe(value)} and has no {name!r}")


def _explain_missing(known: Mapping[str, Any], name: str, where: str) -> str:
    names = sorted(each for each in known if isinstance(each, str))
    close = closest(name, names)
    hint = f" Did you mean {close!r}?" if close else ""
    start = f"{where} has no {name!r}" if where else f"there is no name {name!r}"
    return f"{start} (known names: {some(map(cut, names)) or 'none'}).{hint} |default: gives it a value"
