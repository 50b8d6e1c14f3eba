"""What is wrong with the expressions of a definition: they must parse, and read what can be there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ..exceptions import ExpressionError
from .checking_steps import suggest
from .conditions import parse_condition
from .expressions import parse_expression, parse_template
from .outline import Outline
from .spec import Problem, StepSpec

RUN_NAMES = ("id", "key", "workflow")

Path = tuple[str, ...]


def check_references(outline: Outline) -> Iterator[Problem]:
    """Yield what is wrong in ``if``, ``for_each`` and ``with`` of every step."""
    for step in outline.spec.steps:
        yield from _StepReferences(outline, step).check()


class _StepReferences:
    """The references of one step, which ask for what may come before it once at most."""

    def __init__(self, outline: Outline, step: StepSpec) -> None:
        self.outline = outline
        self.step = step

    def check(self) -> Iterator[Problem]:
        for field, value in self._sources():
            try:
                references = self._parse(field, value)
            except ExpressionError as error:
                yield Problem(str(error), self.step.name, field)
                continue
            for path in sorted(references):
                problem = self._judge(field, path)
                if problem:
                    yield Problem(problem, self.step.name, field)

    def _sources(self) -> Iterator[tuple[str, Any]]:
        if self.step.condition is not None:
            yield "if", self.step.condition
        if self.step.for_each is not None:
            yield "for_each", self.step.for_each
        for name, value in self.step.params.items():
            yield f"with.{name}", value

    def _parse(self, field: str, value: Any) -> frozenset[Path]:
        if field == "if" or (isinstance(value, str) and field in self._conditions):
            return parse_condition(value).references
        return parse_expression(value).references if field == "for_each" else parse_template(value).references

    @cached_property
    def _conditions(self) -> frozenset[str]:
        params = self.outline.type_of(self.step).params or ()
        return frozenset(f"with.{param.name}" for param in params if param.marker == "condition")

    @cached_property
    def _earlier(self) -> frozenset[str]:
        return self.outline.may_precede(self.step.name)

    def _judge(self, field: str, path: Path) -> str:
        root = path[0]
        if root in ("steps", "errors"):
            return self._judge_step(path)
        if root == "run" and (len(path) == 1 or path[1] not in RUN_NAMES):
            return f"{'.'.join(path)}: of the run there are {', '.join(f'run.{name}' for name in RUN_NAMES)}"
        if root in ("item", "index") and self.step.for_each is None:
            return f"{root} is known only in a step with for_each"
        if root in ("item", "index") and not field.startswith("with."):
            return f"{root} is known only in with: {field} is asked once, before the items are known"
        return ""

    def _judge_step(self, path: Path) -> str:
        if len(path) == 1:
            example = next(iter(self.outline.graph.steps))
            return f"{path[0]} alone is no value; name a step, as in {path[0]}.{example}"
        name = path[1]
        text = f"{path[0]}.{name}"
        if name not in self.outline.graph.steps:
            return f"{text}: no step is called {name!r}{suggest(name, self.outline.graph.steps)}"
        if name in self._earlier:
            return ""
        if name == self.step.name:
            return f"{text}: a step knows its own earlier visits only where something jumps back to it"
        return f"{text}: {name} does not run before this step, nor does it jump here; name it in needs"
