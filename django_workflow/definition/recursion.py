"""Workflows that call themselves by way of others, as far as that is certain before anything runs.

A call that depends on anything (a condition, a list, a person's answer, a handler that may jump past it) may
stop by itself, and is left to the limit on the depth of calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from .expressions import has_expression
from .graph import Graph
from .outline import GetHandler, Outline
from .spec import APPROVAL, CALL, StepSpec, WorkflowSpec


def certain_calls(spec: WorkflowSpec, get_handler: GetHandler) -> dict[str, str]:
    """Return the workflows that every run of ``spec`` starts, each with the name of the step that does.

    Only failing can keep a run from it. A call with a ``key`` is not among them: it may find an earlier run.
    """
    if all(step.type != CALL for step in spec.steps):
        return {}
    outline = Outline(spec, get_handler)
    main_line = [step for name, step in outline.graph.steps.items() if name not in outline.graph.jump_only]
    leaving = {step.name for step in main_line if _may_leave(outline, step)}
    found: dict[str, str] = {}
    for step in main_line:
        if _calls_always(step) and leaving <= _surely_after(outline.graph, step.name) | {step.name}:
            found.setdefault(step.params["workflow"], step.name)
    return found


def find_cycle(name: str, calls_of: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """Return the shortest way from ``name`` over calls back to itself, both ends included, else nothing."""
    origins: dict[str, str] = {}
    waiting = deque([name])
    while waiting:
        each = waiting.popleft()
        for called in calls_of(each):
            if called == name:
                return (*_way_to(each, name, origins), name)
            if called not in origins:
                origins[called] = each
                waiting.append(called)
    return ()


def _way_to(last: str, name: str, origins: Mapping[str, str]) -> list[str]:
    way = [last]
    while way[-1] != name:
        way.append(origins[way[-1]])
    return way[::-1]


def _calls_always(step: StepSpec) -> bool:
    workflow = step.params.get("workflow")
    is_certain = step.condition is None and step.for_each is None and step.params.get("key") is None
    return step.type == CALL and is_certain and isinstance(workflow, str) and not has_expression(workflow)


def _may_leave(outline: Outline, step: StepSpec) -> bool:
    is_named = step.next is not None or bool(outline.targets(step.name))
    is_unknown = step.name in outline.jumping_anywhere
    type = outline.type_of(step)
    return is_named or is_unknown or type.may_leave_by_itself or type.name == APPROVAL


def _surely_after(graph: Graph, name: str) -> set[str]:
    # Steps that cannot start before the step has ended; with join: any, one of several needs is enough.
    found = {name}
    for each in graph.in_order:
        decide = any if graph.steps[each].join == "all" else all
        if graph.needs[each] and decide(need in found for need in graph.needs[each]):
            found.add(each)
    return found
