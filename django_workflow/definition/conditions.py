"""Conditions: the operators of Django's ``{% if %}``, evaluated honestly.

Django answers False where it cannot compare and None where a name is missing; here both are errors, so that
no approval is skipped by a slip. From loose to tight: ``or``, ``and``, ``not``, then one comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn, Protocol

from ..exceptions import ExpressionError
from ..spelling import cut
from .comparisons import COMPARISONS
from .evaluation import MAX_BYTES, Expression
from .expressions import MAX_SOURCE, drop_braces, parse_expression
from .values import describe, is_true

MAX_NESTING = 50

_PIECE = r"""(?: "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [^\s()<>=!|"'] )+"""
_TOKEN = re.compile(
    rf"""\s* (?: (?P<sign> == | != | <= | >= | [<>()] )
              | (?P<operand> {_PIECE} (?: \s* \| \s* {_PIECE} )* ) )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = frozenset({"or", "and", "not", "in", "is"})
_IDENTITY = frozenset({"is", "is not"})
_CONSTANTS = frozenset({"None", "True", "False"})


class _Node(Protocol):
    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _AllOf:
    nodes: tuple[_Node, ...]

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int) -> bool:
        return all(is_true(node.evaluate(scope, max_bytes=max_bytes)) for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnyOf:
    nodes: tuple[_Node, ...]

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int) -> bool:
        return any(is_true(node.evaluate(scope, max_bytes=max_bytes)) for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Not:
    node: _Node

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int) -> bool:
        return not is_true(self.node.evaluate(scope, max_bytes=max_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    source: str
    operator: str
    left: _Node
    right: _Node

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int) -> bool:
        left = self.left.evaluate(scope, max_bytes=max_bytes)
        right = self.right.evaluate(scope, max_bytes=max_bytes)
        try:
            return COMPARISONS[self.operator](left, right)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ExpressionError(f"{self.source}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parsed condition, without braces.

    ``references``: the paths it looks up; ``demanded``: those that somewhere no ``|default:`` stands in for.
    """

    source: str
    references: frozenset[tuple[str, ...]]
    demanded: frozenset[tuple[str, ...]]
    node: _Node = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.source

    def evaluate(self, scope: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> bool:
        """Return whether the condition holds over the names of ``scope``.

        Raises ``ExpressionError`` for a missing name, and for values that cannot be compared.
        """
        return is_true(self.node.evaluate(scope, max_bytes=max_bytes))


def parse_condition(source: str) -> Condition:
    """Return the parsed ``source``, such as ``order.total > 1000 and not order.trusted``.

    Raises ``ExpressionError`` with a message for a person.
    """
    if not isinstance(source, str):
        raise ExpressionError(f"a condition is text, not {describe(source)}")
    return _parse(drop_braces(source))


@lru_cache(maxsize=1024)
def _parse(source: str) -> Condition:
    if not source or len(source) > MAX_SOURCE:
        raise ExpressionError(f"{source[:100]!r}: a condition has 1 to {MAX_SOURCE:,} characters")
    parser = _ConditionParser(source, _split(source))
    node = parser.parse()
    references, demanded = frozenset(parser.references), frozenset(parser.demanded)
    return Condition(source=source, references=references, demanded=demanded, node=node)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    start: int
    end: int
    is_operand: bool


def _split(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(source.rstrip())
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            _refuse(source, source[position:].lstrip())
        kind = match.lastgroup or ""
        text = match[kind]
        is_operand = kind == "operand" and text not in _WORDS
        tokens.append(_Token(text=text, start=match.start(kind), end=match.end(), is_operand=is_operand))
        position = match.end()
    return tokens


def _refuse(source: str, rest: str) -> NoReturn:
    hints = {"=": "compare with ==", "!": "write not, or !=", "|": "a filter follows a value"}
    hint = "a quote that nothing closes" if rest[:1] in "\"'" else hints.get(rest[:1], "not understood")
    raise ExpressionError(f"{cut(source, 200)}: at {rest[:30]!r}: {hint}")


class _ConditionParser:
    """A parser by descent, one method per level of precedence; chains of ``or`` and ``and`` take no depth."""

    def __init__(self, source: str, tokens: list[_Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.references: set[tuple[str, ...]] = set()
        self.demanded: set[tuple[str, ...]] = set()

    def parse(self) -> _Node:
        node = self.read_or()
        if self.position < len(self.tokens):
            self.refuse(f"an operator is missing before {self.tokens[self.position].text!r}")
        return node

    def read_or(self) -> _Node:
        nodes = [self.read_and()]
        while self.take("or"):
            nodes.append(self.read_and())
        return nodes[0] if len(nodes) == 1 else _AnyOf(nodes=tuple(nodes))

    def read_and(self) -> _Node:
        nodes = [self.read_comparison()]
        while self.take("and"):
            nodes.append(self.read_comparison())
        return nodes[0] if len(nodes) == 1 else _AllOf(nodes=tuple(nodes))

    def read_comparison(self) -> _Node:
        first = self.position
        is_negation = self.is_next("not")
        left = self.read_value()
        operator = None if is_negation else self.take_operator()
        if operator is None:
            return left
        is_negation = self.is_next("not")
        right = self.read_value()
        source = self.source[self.tokens[first].start : self.tokens[self.position - 1].end]
        if operator in _IDENTITY and not (_is_constant(left) or _is_constant(right)):
            self.refuse(f"{operator!r} compares with None, True or False only; compare values with == or !=")
        if not is_negation and self.take_operator() is not None:
            self.refuse("comparisons do not chain; write a < b and b < c, or parentheses")
        return _Comparison(source=source, operator=operator, left=left, right=right)

    def read_value(self) -> _Node:
        """Read what stands beside an operator; ``not`` takes the whole comparison that follows it."""
        if self.take("not"):
            self.enter()
            node: _Node = _Not(node=self.read_comparison())
        elif self.take("("):
            self.enter()
            node = self.read_or()
            if not self.take(")"):
                self.refuse("a parenthesis is never closed")
        else:
            return self.read_operand()
        self.depth -= 1
        return node

    def read_operand(self) -> Expression:
        if self.position == len(self.tokens):
            self.refuse("a value is missing at the end")
        token = self.tokens[self.position]
        if not token.is_operand:
            self.refuse(f"a value is missing before {token.text!r}")
        if token.text.startswith("{{"):
            self.refuse("braces go round the whole condition, or are left out")
        self.position += 1
        expression = parse_expression(token.text)
        self.references |= expression.references
        self.demanded |= expression.demanded
        return expression

    def take_operator(self) -> str | None:
        if self.take("not"):
            if not self.take("in"):
                self.refuse("'not' after a value is only known in 'not in'")
            return "not in"
        if self.take("is"):
            return "is not" if self.take("not") else "is"
        if self.position == len(self.tokens) or self.tokens[self.position].text not in COMPARISONS:
            return None
        self.position += 1
        return self.tokens[self.position - 1].text

    def take(self, text: str) -> bool:
        """Go past the next token if it is ``text``, and tell whether it was."""
        found = self.is_next(text)
        self.position += found
        return found

    def is_next(self, text: str) -> bool:
        return self.position < len(self.tokens) and self.tokens[self.position].text == text

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.refuse(f"nested more than {MAX_NESTING} deep")

    def refuse(self, reason: str) -> NoReturn:
        raise ExpressionError(f"{cut(self.source, 200)}: {reason}")


def _is_constant(node: _Node) -> bool:
    return isinstance(node, Expression) and node.source in _CONSTANTS
