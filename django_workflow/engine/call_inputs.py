"""Whether the calls of a workflow give the called ones the input that these declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..definition.expressions import has_expression
from ..definition.spec import CALL, Problem, StepSpec, WorkflowSpec
from ..exceptions import ParamsError
from ..params.declared import declared_params
from .recursion import Upcoming, nothing_upcoming, read_published


def check_call_inputs(
    spec: WorkflowSpec, *, using: str, upcoming: Upcoming = nothing_upcoming
) -> list[Problem]:
    """Return a warning for each name that a called workflow does not know, or misses.

    A warning, because the called workflow may be published again before a run gets there. At most one query.
    """
    calls = [step for step in spec.steps if _is_literal(step)]
    names = {step.params["workflow"] for step in calls}
    called = {each.name: each for each in read_published(names, using, upcoming)}
    return [
        problem
        for step in calls
        if step.params["workflow"] in called
        for problem in _misnamed(step, called[step.params["workflow"]])
    ]


def _is_literal(step: StepSpec) -> bool:
    if step.type != CALL:
        return False
    workflow, given = step.params.get("workflow"), step.params.get("input") or {}
    return isinstance(workflow, str) and not has_expression(workflow) and isinstance(given, Mapping)


def _misnamed(step: StepSpec, called: WorkflowSpec) -> Iterator[Problem]:
    try:
        declared = None if called.input is None else declared_params(called.input)
    except ParamsError:  # a model of an app that is gone, for one: what was published is not judged again
        return
    for name, texts in declared.misnamed(step.params.get("input") or {}).items() if declared else ():
        text = f"{called.name!r} would refuse its input: {'; '.join(texts)}"
        yield Problem(text, step=step.name, field=f"with.input.{name}", level="warning")
