"""Everything wrong with a definition, as one list: what publishing refuses, and what it warns of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ..exceptions import ParamsError
from ..params import declared_params
from .checking_paths import check_cycles, check_ends, check_error_targets, check_reached
from .checking_references import check_references
from .checking_steps import check_steps
from .checking_undo import check_on_failure
from .outline import GetHandler, Outline
from .reading import NO_SLUG, SLUG, read_definition
from .spec import MAX_STEPS, RESERVED_STATE, Problem, WorkflowSpec, first_problems

__all__ = ["Problem", "check_definition", "validate"]

# Fields that decide the paths: with one of them wrong, what is said of the paths would be noise.
_STRUCTURAL = frozenset({"name", "type", "needs", "next", "on_error"})


def check_definition(data: Any, get_handler: GetHandler) -> tuple[WorkflowSpec, list[Problem]]:
    """Return the spec that ``data`` describes and everything wrong with its shape or meaning, in step order.

    A place with a problem of shape gets none of meaning: what could not be read is not judged.
    """
    spec, read = read_definition(data)
    misread = first_problems(read)
    places = {(problem.step, problem.field) for problem in misread}
    if ("", "") in places:
        return spec, misread
    found = validate(spec, get_handler)
    meant = [problem for problem in found if (problem.step, problem.field) not in places]
    return spec, _in_step_order(spec, first_problems([*misread, *meant]))


def validate(spec: WorkflowSpec, get_handler: GetHandler) -> list[Problem]:
    """Return everything wrong with the meaning of ``spec``, errors and warnings, in step order.

    ``get_handler`` gives the handler of a step type, or None for an unknown one.
    """
    problems = _check_workflow(spec)
    if 0 < len(spec.steps) <= MAX_STEPS:
        problems = chain(problems, _check_outline(Outline(spec, get_handler)))
    return _in_step_order(spec, first_problems(problems))


def _check_workflow(spec: WorkflowSpec) -> Iterator[Problem]:
    if not spec.name:
        yield Problem("a name is needed", field="name")
    elif not SLUG.fullmatch(spec.name):
        yield Problem(f"{spec.name!r:.120} {NO_SLUG}", field="name")
    if not spec.steps:
        yield Problem("at least one step is needed", field="steps")
    if len(spec.steps) > MAX_STEPS:
        text = f"{len(spec.steps):,} steps are more than {MAX_STEPS:,}; for_each repeats one step over a list"
        yield Problem(text, field="steps")
    yield from check_on_failure(spec)
    yield from _check_input(spec)


def _check_input(spec: WorkflowSpec) -> Iterator[Problem]:
    for name in spec.input or ():
        if name in RESERVED_STATE:
            text = f"{name!r} is a word of the expressions and no name for an input; take another"
            yield Problem(text, field="input")
    try:
        declared_params(spec.input or {})
    except ParamsError as error:
        for name, texts in error.problems.items():
            yield from (Problem(f"{name}: {text}", field="input") for text in texts)


def _check_outline(outline: Outline) -> Iterator[Problem]:
    problems = first_problems(chain(check_steps(outline), check_cycles(outline)))
    yield from problems
    yield from check_references(outline)
    jumps = {jump.field for step in outline.spec.steps for jump in outline.named_in_params(step)}
    if not any(problem.field in _STRUCTURAL | jumps for problem in problems if problem.level == "error"):
        yield from check_reached(outline)
        yield from check_error_targets(outline)
        yield from check_ends(outline)


def _in_step_order(spec: WorkflowSpec, problems: Iterable[Problem]) -> list[Problem]:
    position: dict[str, int] = {}
    for number, step in enumerate(spec.steps):
        position.setdefault(step.name, number)
    return sorted(dict.fromkeys(problems), key=lambda problem: position.get(problem.step, -1))
