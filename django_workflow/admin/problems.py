"""A draft as it was typed, and everything that keeps it from being published, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.db import router

from ..definition.reading import STEP_KEYS, read_definition
from ..definition.spec import Problem, WorkflowSpec, first_problems
from ..engine.judge import check_definition
from ..engine.recursion import check_recursion
from ..models import Step, Workflow

WORKFLOW_FIELDS = ("name", "description", "input", "queue", "timeout", "on_failure", "max_visits")


def workflow_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the fields of a workflow, its steps left aside."""
    return [problem for problem in _check(values, ()) if problem.field != "steps"]


def draft_problems(values: Mapping[str, Any], steps: Sequence[Step]) -> list[Problem]:
    """Return what is wrong with a draft, but for :func:`workflow_problems`."""
    told = set(workflow_problems(values))
    problems = [problem for problem in _check(values, steps) if problem not in told]
    if not told and not problems:
        return first_problems(check_recursion(_read(values, steps), using=router.db_for_write(Workflow)))
    return problems


def complete_names(steps: Sequence[Step]) -> None:
    """Give each step without a name one made from its type."""
    data = {"steps": [{"name": step.name, "type": step.type} for step in steps]}
    spec, _ = read_definition(data)
    for step, named in zip(steps, spec.steps, strict=True):
        step.name = named.name


def add_problem(form: forms.BaseForm, problem: Problem, told: Iterable[str]) -> None:
    """Show a problem at its field, or on top of a form without that field; a field of ``told`` has said
    enough."""
    key, _, inner = problem.field.partition(".")
    field = STEP_KEYS.get(key, key)
    if field not in form.fields:
        form.add_error(None, f"{problem.field}: {problem.message}" if key else problem.message)
    elif field not in told:
        form.add_error(field, f"{inner}: {problem.message}" if inner else problem.message)


def _check(values: Mapping[str, Any], steps: Iterable[Step]) -> list[Problem]:
    _, problems = check_definition(_data(values, steps))
    return [problem for problem in problems if problem.level == "error"]


def _read(values: Mapping[str, Any], steps: Iterable[Step]) -> WorkflowSpec:
    spec, _ = read_definition(_data(values, steps))
    return spec


def _data(values: Mapping[str, Any], steps: Iterable[Step]) -> dict[str, Any]:
    given = {key: values[key] for key in WORKFLOW_FIELDS if values.get(key) not in ("", None)}
    return {**given, "steps": [step.as_definition() for step in steps]}
