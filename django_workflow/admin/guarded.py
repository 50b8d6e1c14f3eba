"""Steps whose type asks for a permission: who lacks it must not change, delete or feed one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..definition.conditions import parse_condition
from ..definition.expressions import parse_expression, parse_template
from ..exceptions import ExpressionError, RegistrationError
from ..models import Step
from ..registry import get_handler

SET = "flow.set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a step's values come from: the names of steps, and the keys of the state and the input."""

    steps: frozenset[str]
    keys: frozenset[str]


def permission_of(type: str) -> str:
    """Return the permission that steps of ``type`` ask for; an empty text for none."""
    handler = get_handler(type)
    return "" if handler is None else handler.permission


class Feeding:
    """Which of the steps of a draft give values to which others.

    What a handler of the project's own writes to the state cannot be told.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._named: dict[str, list[Step]] = defaultdict(list)
        self._writing: dict[str, list[Step]] = defaultdict(list)
        self._read: dict[int, frozenset[tuple[str, ...]]] = {}
        for step in steps:
            self._named[step.name].append(step)
            for key in step.params if step.type == SET and isinstance(step.params, dict) else ():
                self._writing[key].append(step)

    def sources_of(self, step: Step) -> Sources:
        """Return where the values of ``step`` come from, however many steps lie between."""
        names, keys, todo = set[str](), set[str](), [step]
        while todo:
            for root, *rest in self._references(todo.pop()):
                if root in ("steps", "errors"):
                    new = set(rest[:1]) - names
                    feeding = [each for name in new for each in self._named[name]]
                else:
                    feeding = [] if root in keys else self._writing[root]
                    keys.add(root)
                    new = {each.name for each in feeding}
                names |= new
                todo += feeding
        return Sources(steps=frozenset(names), keys=frozenset(keys))

    def _references(self, step: Step) -> frozenset[tuple[str, ...]]:
        if id(step) not in self._read:
            self._read[id(step)] = frozenset(_references(step))
        return self._read[id(step)]


def _references(step: Step) -> Iterator[tuple[str, ...]]:
    """Yield what the expressions of a step look up; what cannot be parsed cannot be published either."""
    handler = get_handler(step.type)
    try:
        conditions = frozenset() if handler is None else handler.condition_params
    except RegistrationError:
        conditions = frozenset()
    for name, value in (step.params if isinstance(step.params, dict) else {}).items():
        is_condition = name in conditions and isinstance(value, str)
        yield from _parse(parse_condition if is_condition else parse_template, value)
    if step.condition:
        yield from _parse(parse_condition, step.condition)
    if step.for_each:
        yield from _parse(parse_expression, step.for_each)


def _parse(parse: Callable[[Any], Any], value: Any) -> frozenset[tuple[str, ...]]:
    try:
        references: frozenset[tuple[str, ...]] = parse(value).references
        return references
    except ExpressionError:
        return frozenset()
