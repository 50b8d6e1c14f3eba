"""Who publishes a call is warned of input that the called workflow would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from django_workflow import define
from django_workflow.models import Workflow

pytestmark = pytest.mark.django_db
REST = {"type": "flow.set", "with": {"x": 1}}


def warnings_of(*steps: dict[str, Any]) -> list[str]:
    version = define("parent", steps=steps).published
    assert version is not None
    return version.warnings


def call(**params: Any) -> dict[str, Any]:
    return {"name": "on", "type": "flow.call", "with": {"workflow": "child", **params}}


@pytest.fixture
def child() -> Workflow:
    input = {"order": "int", "note": {"type": "str", "default": "none"}}
    return define("child", steps=[REST], input=input)


def test_names_that_it_does_not_know_and_those_that_it_misses_are_told(child: Workflow) -> None:
    assert warnings_of(call(input={"ordr": "{{ number }}"})) == [
        "step 'on', with.input.ordr: 'child' would refuse its input: is unknown; did you mean 'order'?",
        "step 'on', with.input.order: 'child' would refuse its input: is required",
    ]
    assert warnings_of(call()) == ["step 'on', with.input.order: 'child' would refuse its input: is required"]


@pytest.mark.parametrize(
    "params",
    [
        {"input": {"order": "{{ number }}"}},
        {"input": {"order": 1, "note": "two"}},
        {"input": "{{ made }}"},
        {"workflow": "{{ name }}", "input": {"ordr": 1}},
        {"workflow": "unknown", "input": {"ordr": 1}},
    ],
)
def test_nothing_is_told_where_it_fits_or_is_not_known(child: Workflow, params: dict[str, Any]) -> None:
    assert warnings_of(call(**params)) == []


def test_a_workflow_that_declares_nothing_takes_anything() -> None:
    define("child", steps=[REST])
    assert warnings_of(call(input={"ordr": 1})) == []


def test_what_a_called_workflow_declared_and_nobody_can_read_any_more_is_not_judged(child: Workflow) -> None:
    assert child.published is not None
    versions = child.versions.filter(pk=child.published.pk)
    versions.update(spec={**child.published.spec, "input": {"order": "gone.Order"}})
    assert warnings_of(call(input={"ordr": 1})) == []
