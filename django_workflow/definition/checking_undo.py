"""What is wrong with compensation: the ``undo`` of a step, and the workflow's ``on_failure``."""

from __future__ import annotations

from collections.abc import Iterator

from .checking_types import check_type
from .outline import Outline
from .spec import Problem, StepSpec, WorkflowSpec


def check_undo(outline: Outline, step: StepSpec) -> Iterator[Problem]:
    """Yield what is wrong with the type and params of a step's ``undo``; it must not jump or end the run."""
    if step.undo is None:
        return
    yield from check_type(outline, step.undo, step.name, within="undo.")
    type = outline.type_of(step.undo)
    if type.always_ends:
        text = f"{step.undo.type} ends a run, and what undoes a step runs when the run is ending anyway"
        yield Problem(text, step.name, "undo.type")
    for jump in outline.named_in_params(step.undo):
        text = "what undoes a step cannot jump: the steps are undone one by one, the last one first"
        yield Problem(text, step.name, f"undo.{jump.field}")


def check_on_failure(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield warnings about ``on_failure``; that the workflow it names exists is seen when a run fails."""
    if spec.on_failure == "undo" and all(step.undo is None for step in spec.steps):
        yield Problem("no step has an undo, so there is nothing to undo", "", "on_failure", "warning")
    if spec.on_failure == {"workflow": spec.name}:
        text = "a failed run starts the same workflow again, and should that fail as well, again and again"
        yield Problem(text, "", "on_failure", "warning")
