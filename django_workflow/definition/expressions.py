"""Expressions, ``{{ order.total|default:0 }}``, read by Django's parser, and templates: JSON that holds them.

Evaluation is ours: see :mod:`.evaluation`. Every failure is an ``ExpressionError`` that names the expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

from django.template.base import FilterExpression, Parser, Variable
from django.template.exceptions import TemplateSyntaxError
from django.utils.functional import Promise

from ..exceptions import ExpressionError
from ..spelling import closest, cut
from .evaluation import MAX_BYTES, Expression, FilterCall, Operand
from .filters import FILTERS, LEFT_OUT, Filter
from .values import MAX_DEPTH, NO_OUTPUT, Budget, Readable, describe, plain_text, require_modest, text_size

__all__ = [
    "MAX_SOURCE",
    "NO_OUTPUT",
    "Expression",
    "Readable",
    "Template",
    "drop_braces",
    "find_closing",
    "has_expression",
    "is_expression",
    "parse_expression",
    "parse_template",
]

MAX_SOURCE = 4_000
MAX_FILTERS = 20
MAX_LOOKUPS = 50

_CONSTANTS: dict[tuple[str, ...], bool | None] = {("None",): None, ("True",): True, ("False",): False}
_PLAIN_NAME = re.compile(rf"[a-z]\w*(?:\.[a-z]\w*){{0,{MAX_LOOKUPS - 1}}}", re.ASCII | re.IGNORECASE)
_PLAIN_NUMBER = re.compile(r"[0-9]{1,15}")
_FILTER_NAMES = {function: name for name, function in FILTERS.items()}
_CLOSING = re.compile(r""" "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \}\} | ["'] """, re.VERBOSE | re.DOTALL)


class _FilterParser(Parser):
    """Django's parser of expressions, with the allowed filters and no tags."""

    def find_filter(self, filter_name: str) -> Filter:
        if filter_name in FILTERS:
            return FILTERS[filter_name]
        if filter_name in LEFT_OUT:
            raise TemplateSyntaxError(f"the filter {filter_name!r} is not allowed: {LEFT_OUT[filter_name]}")
        close = closest(filter_name, FILTERS)
        hint = f"did you mean {close!r}?" if close else f"the filters are {', '.join(FILTERS)}"
        raise TemplateSyntaxError(f"there is no filter {cut(filter_name)!r}; {hint}")


_PARSER = _FilterParser([])


def parse_expression(source: str) -> Expression:
    """Return the parsed ``source``, such as ``order.total|default:0``; braces round the whole are dropped.

    Raises ``ExpressionError`` with a message for a person.
    """
    if not isinstance(source, str):
        raise ExpressionError(f"an expression is text, not {describe(source)}")
    return _parse(drop_braces(source))


def drop_braces(source: str) -> str:
    """Return ``source`` stripped, and without the braces where they stand round the whole."""
    text = plain_text(source).strip()
    if is_expression(text):
        return text[2:-2].strip()
    return text


def find_closing(text: str, start: int) -> int | None:
    """Return where the ``}}`` stands that closes the expression begun before ``start``, past quoted ones."""
    for match in _CLOSING.finditer(text, start):
        if match[0] == "}}":
            return match.start()
        if len(match[0]) == 1:  # a quote that nothing closes
            return None
    return None


@lru_cache(maxsize=2048)
def _parse(source: str) -> Expression:
    if not source or len(source) > MAX_SOURCE:
        _refuse(source, f"an expression has 1 to {MAX_SOURCE:,} characters")
    # Most are plain names and numbers, for which Django's parser would take ten times as long.
    if _PLAIN_NUMBER.fullmatch(source):
        return _plain(source, Operand(value=int(source)))
    if _PLAIN_NAME.fullmatch(source):
        return _plain(source, _find(tuple(source.split("."))))
    try:
        parsed = FilterExpression(source, _PARSER)
        start = _read_operand(parsed.var)
        calls = tuple(_read_calls(parsed))
    except (TemplateSyntaxError, ValueError) as error:
        _refuse(source, f"{error}")
    groups = [(start,), *(call.arguments for call in calls)]
    references = [frozenset(operand.path for operand in group if operand.path) for group in groups]
    # A default stands in for what is missing before it, and is itself what comes after.
    last_default = max((place for place, call in enumerate(calls, 1) if call.name == "default"), default=0)
    return Expression(
        source=source,
        references=frozenset().union(*references),
        demanded=frozenset().union(*references[last_default:]),
        start=start,
        calls=calls,
    )


def _plain(source: str, operand: Operand) -> Expression:
    paths = frozenset({operand.path} - {()})
    return Expression(source=source, references=paths, demanded=paths, start=operand, calls=())


def _refuse(source: str, reason: str) -> NoReturn:
    shown = source if len(source) <= 100 else f"{source[:100]}…"
    raise ExpressionError(
        f"{{{{ {shown} }}}}: {reason} (an expression is a name, number or quoted text, with filters: "
        "no tags, calls or arithmetic; names have letters, digits and underscores)"
    )


def _read_calls(parsed: FilterExpression) -> Iterator[FilterCall]:
    if len(parsed.filters) > MAX_FILTERS:
        raise ValueError(f"more than {MAX_FILTERS} filters")
    for function, arguments in parsed.filters:
        operands = tuple(_read_operand(argument) for _is_lookup, argument in arguments)
        yield FilterCall(name=_FILTER_NAMES[function], function=function, arguments=operands)


def _read_operand(parsed: Any) -> Operand:
    if isinstance(parsed, Promise):
        raise ValueError('the translation syntax _("…") is not supported')
    if not isinstance(parsed, Variable):
        return Operand(value=plain_text(parsed))
    if parsed.lookups is None:
        require_modest(parsed.literal)
        return Operand(value=parsed.literal)
    path = tuple(parsed.lookups)
    if "" in path or path[0].isdecimal():
        raise ValueError(f"{parsed.var!r} is neither a number nor names with single dots between")
    if len(path) > MAX_LOOKUPS:
        raise ValueError(f"more than {MAX_LOOKUPS} names in one lookup")
    return _find(path)


def _find(path: tuple[str, ...]) -> Operand:
    return Operand(value=_CONSTANTS[path]) if path in _CONSTANTS else Operand(path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joined:
    """A string with expressions among other text."""

    parts: tuple[str | Expression, ...]

    def render(self, budget: Budget, scope: Mapping[str, Any]) -> str:
        return "".join(_render_part(part, budget, scope) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A JSON value whose strings may hold expressions; ``references`` are the paths they look up.

    ``demanded`` are those that somewhere no ``|default:`` stands in for.
    """

    references: frozenset[tuple[str, ...]]
    demanded: frozenset[tuple[str, ...]]
    _tree: Any = field(repr=False)

    def render(self, scope: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> Any:
        """Return the value, of at most ``max_bytes``, with its expressions evaluated over ``scope``.

        A string that is one expression gives its value with its type, any other is joined as text.
        Raises ``ExpressionError``.
        """
        budget = Budget(max_bytes)
        try:
            return _render(self._tree, budget, scope)
        except ValueError as error:
            raise ExpressionError(f"rendered: {error}") from error


def _render(node: Any, budget: Budget, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        budget.spend(sum(4 + text_size(key) for key in node))
        return {key: _render(item, budget, scope) for key, item in node.items()}
    if isinstance(node, list):
        budget.spend(2 * len(node))
        return [_render(item, budget, scope) for item in node]
    if isinstance(node, Expression):
        return node.evaluate_within(budget, scope)
    if isinstance(node, _Joined):
        return node.render(budget, scope)
    budget.spend(text_size(node) if isinstance(node, str) else 8)
    return node


def _render_part(part: str | Expression, budget: Budget, scope: Mapping[str, Any]) -> str:
    if isinstance(part, Expression):
        return part.evaluate_text(budget, scope)
    budget.spend(text_size(part))
    return part


def parse_template(value: Any) -> Template:
    """Return the template of a JSON ``value``, whose keys are literal. Raises ``ExpressionError``."""
    found: list[Expression] = []
    tree = _parse_node(value, found, 0)
    references = frozenset(path for expression in found for path in expression.references)
    demanded = frozenset(path for expression in found for path in expression.demanded)
    return Template(references=references, demanded=demanded, _tree=tree)


def _parse_node(value: Any, found: list[Expression], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"a value is nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ExpressionError(f"the keys of a dict are text, and {describe(key)} is not")
        return {plain_text(key): _parse_node(item, found, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_parse_node(item, found, depth + 1) for item in value]
    return _parse_text(plain_text(value), found) if isinstance(value, str) else value


def _parse_text(text: str, found: list[Expression]) -> str | Expression | _Joined:
    if is_expression(text):
        found.append(parse_expression(text))
        return found[-1]
    parts: list[str | Expression] = []
    position = 0
    while (opening := text.find("{{", position)) >= 0:
        closing = find_closing(text, opening + 2)
        if closing is None:
            _refuse_unclosed(text[opening:])
        found.append(_parse(text[opening + 2 : closing].strip()))
        parts += [text[position:opening], found[-1]]
        position = closing + 2
    return _Joined(parts=(*parts, text[position:])) if parts else text


def _refuse_unclosed(rest: str) -> NoReturn:
    shown = rest if len(rest) <= 60 else f"{rest[:60]}…"
    raise ExpressionError(
        f"{shown!r}: this expression, or a quoted text in it, is never closed; "
        'close it with }}, or write {{ "{{" }} where literal braces are meant'
    )


def is_expression(value: object) -> bool:
    """Tell whether ``value`` is a string of exactly one ``{{ … }}``: its type is known once evaluated."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return text.startswith("{{") and find_closing(text, 2) == len(text) - 2


def has_expression(value: object) -> bool:
    """Tell whether any string within the JSON ``value`` opens an expression, be it closed or not."""
    if isinstance(value, Mapping):
        return any(has_expression(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_expression(item) for item in value)
    return isinstance(value, str) and "{{" in value
