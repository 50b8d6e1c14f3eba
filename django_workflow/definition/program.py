"""A published definition made ready to run: its graph, and each step's expressions parsed once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .conditions import Condition, parse_condition
from .expressions import Expression, Template, parse_expression, parse_template
from .graph import Graph
from .spec import CALL, StepSpec, WorkflowSpec

# Behind the name of a step: the step run that undoes it. No step can have such a name.
UNDO = ":undo"

Part = Template | Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parsed expressions of one step; ``params`` holds a condition where the handler's param is one."""

    condition: Condition | None
    for_each: Expression | None
    params: Mapping[str, Part]


class Program:
    """A spec with its graph and parsed steps. Steps are parsed when they first run."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.graph = Graph(spec.steps)
        # The steps by the name that step runs have, those that undo others included.
        self.steps = {**self.graph.steps, **{step.name: step for step in _undo_steps(spec)}}
        self._parts: dict[tuple[str, frozenset[str]], Parts] = {}

    @cached_property
    def has_calls(self) -> bool:
        """Whether a step, or what undoes one, calls another workflow."""
        return any(step.type == CALL for step in self.steps.values())

    def parts(self, name: str, condition_params: Collection[str]) -> Parts:
        """Return the parsed step ``name``; ``condition_params`` names the params that hold conditions.

        Raises ``ExpressionError`` for what does not parse.
        """
        key = (name, frozenset(condition_params))
        if key not in self._parts:
            self._parts[key] = _parse(self.steps[name], key[1])
        return self._parts[key]


def _undo_steps(spec: WorkflowSpec) -> Iterator[StepSpec]:
    for step in spec.steps:
        if step.undo is not None:
            name = f"{step.name}{UNDO}"
            yield StepSpec(name=name, type=step.undo.type, params=step.undo.params, queue=step.queue)


def _parse(step: StepSpec, condition_params: frozenset[str]) -> Parts:
    return Parts(
        condition=None if step.condition is None else parse_condition(step.condition),
        for_each=None if step.for_each is None else parse_expression(step.for_each),
        params={name: _parse_param(value, name in condition_params) for name, value in step.params.items()},
    )


def _parse_param(value: Any, is_condition: bool) -> Part:
    if is_condition and isinstance(value, bool):
        value = str(value)
    return parse_condition(value) if is_condition and isinstance(value, str) else parse_template(value)
