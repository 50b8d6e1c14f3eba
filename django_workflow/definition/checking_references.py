"""What is wrong with the expressions of a definition: they must parse, and read what can be there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ..exceptions import ExpressionError
from ..spelling import cut
from .conditions import Condition, parse_condition
from .expressions import Expression, Template, parse_expression, parse_template
from .known_names import KnownNames, Path
from .outline import Outline
from .spec import Level, Problem, StepSpec, UndoSpec

RUN_NAMES = ("id", "key", "workflow")

_UNDO = "undo."


def check_references(outline: Outline) -> Iterator[Problem]:
    """Yield what is wrong in ``if``, ``for_each`` and ``with`` of every step, and in its ``undo``."""
    names = KnownNames(outline)
    for step in outline.spec.steps:
        yield from _StepReferences(outline, names, step).check()


class _StepReferences:
    """The references of one step, which ask for what may come before it once at most."""

    def __init__(self, outline: Outline, names: KnownNames, step: StepSpec) -> None:
        self.outline = outline
        self.names = names
        self.step = step

    def check(self) -> Iterator[Problem]:
        for field, value, is_condition in self._sources():
            try:
                parsed = _parse(value, is_condition, is_whole=field == "for_each")
            except ExpressionError as error:
                yield Problem(str(error), self.step.name, field)
                continue
            for path in sorted(parsed.references):
                message, level = self._judge(field, path, is_demanded=path in parsed.demanded)
                if message:
                    yield Problem(message, self.step.name, field, level)

    def _sources(self) -> Iterator[tuple[str, Any, bool]]:
        # Each expression with its field, and whether it is a condition.
        if self.step.condition is not None:
            yield "if", self.step.condition, True
        if self.step.for_each is not None:
            yield "for_each", self.step.for_each, False
        yield from self._params(self.step, "")
        if self.step.undo is not None:
            yield from self._params(self.step.undo, _UNDO)

    def _params(self, used: StepSpec | UndoSpec, within: str) -> Iterator[tuple[str, Any, bool]]:
        declared = self.outline.type_of(used).params or ()
        conditions = {param.name for param in declared if param.marker == "condition"}
        for name, value in used.params.items():
            yield f"{within}with.{name}", value, name in conditions and isinstance(value, str)

    @cached_property
    def _earlier(self) -> frozenset[str]:
        return self.outline.may_precede(self.step.name)

    def _judge(self, field: str, path: Path, *, is_demanded: bool) -> tuple[str, Level]:
        in_undo = field.startswith(_UNDO)
        wrong = self._judge_place(field, path)
        if wrong:
            return wrong, "error"
        fault = self.names.find_fault(self.step, path, in_undo=in_undo)
        if fault:
            # A default makes of what can never be read a value that is always the same.
            return fault, "error" if is_demanded else "warning"
        return self.names.find_doubt(self.step, path, in_undo=in_undo) if is_demanded else "", "warning"

    def _judge_place(self, field: str, path: Path) -> str:
        root = path[0]
        if root in ("steps", "errors"):
            return self._judge_step(path, is_undo=field.startswith(_UNDO))
        if root == "run" and (len(path) == 1 or path[1] not in RUN_NAMES):
            return f"{'.'.join(path)}: of the run there are {', '.join(f'run.{name}' for name in RUN_NAMES)}"
        if root in ("item", "index") and self.step.for_each is None:
            return f"{root} is known only in a step with for_each"
        if root in ("item", "index") and field in ("if", "for_each"):
            return f"{root} is known only in with: {field} is asked once, before the items are known"
        return ""

    def _judge_step(self, path: Path, *, is_undo: bool) -> str:
        if len(path) == 1:
            example = next(iter(self.outline.graph.steps))
            return f"{path[0]} alone is no value; name a step, as in {path[0]}.{example}"
        name = path[1]
        text = f"{path[0]}.{name}"
        if name not in self.outline.graph.steps:
            return f"{text}: no step is called {cut(name)!r}{self.outline.suggest(name)}"
        # An undo runs when all that is to run has run, its own step and those below it included.
        if is_undo or name in self._earlier:
            return ""
        if name == self.step.name:
            return f"{text}: a step knows its own earlier visits only where something jumps back to it"
        return f"{text}: {name} does not run before this step, nor does it jump here; name it in needs"


def _parse(value: Any, is_condition: bool, *, is_whole: bool) -> Condition | Expression | Template:
    if is_condition:
        return parse_condition(value)
    return parse_expression(value) if is_whole else parse_template(value)
