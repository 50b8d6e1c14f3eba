"""From data to a spec: what is read, what is refused, and that both ways agree."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.plain import MAX_DEPTH
from django_workflow.definition.reading import STEP_READERS, WORKFLOW_READERS, read_definition
from django_workflow.definition.spec import DEFAULT, StepSpec, UndoSpec, WorkflowSpec
from django_workflow.definition.text import Format, read_text, write_text
from django_workflow.definition.writing import write_definition
from django_workflow.retry import Retry

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
slugs = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
durations = st.timedeltas(timedelta(microseconds=1), timedelta(days=3650))
leaves = st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
params = st.dictionaries(names, json_values, max_size=3)
policies = st.builds(
    Retry,
    attempts=st.integers(1, 9),
    delay=durations,
    backoff=st.floats(1, 100),
    jitter=st.floats(0, 1),
    errors=st.lists(texts, max_size=2).map(tuple),
)
optional_text = st.none() | texts
steps = st.builds(
    StepSpec,
    name=names,
    type=texts,
    params=params,
    condition=optional_text,
    needs=st.none() | st.just("jump") | st.lists(names, max_size=3, unique=True).map(tuple),
    join=st.sampled_from(["all", "any"]),
    for_each=optional_text,
    max_parallel=st.none() | st.integers(1, 100),
    retry=st.none() | st.lists(policies, max_size=2).map(tuple),
    timeout=st.just(DEFAULT) | st.none() | durations,
    on_error=texts | st.dictionaries(texts, texts, min_size=1, max_size=2),
    undo=st.none() | st.builds(UndoSpec, type=texts, params=params),
    next=optional_text,
    delay=st.none() | durations | st.just(timedelta(0)),
    queue=optional_text,
)
specs = st.builds(
    WorkflowSpec,
    name=slugs,
    steps=st.lists(steps, max_size=3, unique_by=lambda step: step.name).map(tuple),
    description=st.just("") | texts,
    input=st.none() | params,
    queue=optional_text,
    timeout=st.none() | durations,
    on_failure=st.none() | st.just("undo") | st.fixed_dictionaries({"workflow": slugs}),
    max_visits=st.none() | st.integers(1, 1000),
)


@given(specs)
def test_written_spec_reads_back_equal(spec: WorkflowSpec) -> None:
    assert read_definition(write_definition(spec)) == (spec, [])


@pytest.mark.parametrize("format", ["yaml", "json"])
@given(spec=specs)
def test_spec_survives_text(spec: WorkflowSpec, format: Format) -> None:
    text = write_text(write_definition(spec), format=format)

    assert read_definition(read_text(text, format=format)) == (spec, [])


fields = st.sampled_from([*STEP_READERS, "format", "zzz"])
junk = st.recursive(
    leaves | st.sampled_from([float("inf"), 10**400, "9" * 12 + "w", "jump", "undo", "\x00", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            fields | st.sampled_from(["name", "steps", "type", "with"]) | texts, inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    junk
    | st.dictionaries(st.sampled_from([*WORKFLOW_READERS, "format"]), junk, max_size=5)
    | st.fixed_dictionaries(
        {"name": st.just("x"), "steps": st.lists(st.dictionaries(fields, junk, max_size=5))}
    )
)
def test_junk_never_raises(value: Any) -> None:
    spec, problems = read_definition(value)

    assert isinstance(spec, WorkflowSpec)
    assert all(problem.message for problem in problems)


@given(st.dictionaries(st.text().filter(lambda key: key not in WORKFLOW_READERS), json_values, max_size=3))
def test_data_without_a_name_is_a_problem(value: Any) -> None:
    assert "name" in {problem.field for problem in read_definition(value)[1]}


@pytest.mark.parametrize("value", [None, 3, "name: x", [{"type": "a.b"}], True])
def test_what_is_no_mapping_is_a_problem(value: Any) -> None:
    assert [problem.message for problem in read_definition(value)[1]] == [
        "a definition is a mapping with name and steps"
    ]


def test_deep_and_circular_values_are_one_problem() -> None:
    circle: dict[str, Any] = {"name": "x", "steps": []}
    circle["input"] = circle
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]

    for data in (circle, {"name": "x", "steps": deep}):
        (problem,) = read_definition(data)[1]
        assert f"more than {MAX_DEPTH} deep" in problem.message


REFUSED: dict[str, tuple[str, Any, str]] = {
    "name": ("name", 3, "text is needed"),
    "type": ("type", ["a"], "text is needed"),
    "with a list": ("with", [1], "a mapping is needed"),
    "with a number as a key": ("with", {"a": {1: 2}}, "the key 1 of a is not text"),
    "with a set": ("with", {"a": {"b": {1}}}, "a.b is a set"),
    "with infinity": ("with", {"a": [1, float("inf")]}, "a[1] is inf"),
    "with NUL": ("with", {"a": "\x00"}, "a holds NUL"),
    "with too many digits": ("with", {"a": 10**5000}, "1,000 digits"),
    "if": ("if", 3, "text is needed"),
    "needs a mapping": ("needs", {"a": 1}, "a list of step names"),
    "needs numbers": ("needs", [1], "a list of step names"),
    "join": ("join", "some", "all or any"),
    "for_each": ("for_each", [1, 2], "text is needed"),
    "max_parallel zero": ("max_parallel", 0, "whole number"),
    "max_parallel true": ("max_parallel", True, "whole number"),
    "retry": ("retry", "often", "attempts: 3"),
    "retry key": ("retry", {"tries": 3}, "unknown key 'tries'"),
    "retry attempts": ("retry", {"attempts": 0}, "attempts is 0"),
    "retry backoff": ("retry", {"backoff": 0.5}, "backoff is 0.5"),
    "retry jitter": ("retry", {"jitter": 2}, "jitter is 2"),
    "retry errors": ("retry", {"errors": [3]}, "errors holds 3"),
    "timeout": ("timeout", "soon", "no duration"),
    "timeout zero": ("timeout", 0, "write null for none"),
    "timeout that overflows": ("timeout", "999999999999w", "between 0 and 100 years"),
    "timeout negative": ("timeout", -1, "between 0 and 100 years"),
    "on_error": ("on_error", ["fail"], "text is needed"),
    "on_error empty": ("on_error", {}, "a mapping of error names"),
    "undo": ("undo", {"with": {}}, "type and with"),
    "undo key": ("undo", {"type": "a.b", "if": "x"}, "type and with"),
    "next": ("next", 2, "text is needed"),
    "delay": ("delay", "1 hour", "no duration"),
    "queue": ("queue", 1, "text is needed"),
    "python's word": ("params", {}, "unknown field"),
}


@pytest.mark.parametrize(("field", "value", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_field_names_step_and_field(field: str, value: Any, text: str) -> None:
    step = {"name": "a", "type": "x.y", field: value}
    (problem,) = read_definition({"name": "demo", "steps": [step]})[1]

    assert (problem.step, problem.field, problem.level) == ("a" if field != "name" else "x_y", field, "error")
    assert text in problem.message


READ: dict[str, tuple[str, Any, str, Any]] = {
    "params": (
        "with",
        {"at": date(2026, 1, 2), "cost": Decimal("1.50")},
        "params",
        {"at": "2026-01-02", "cost": "1.50"},
    ),
    "a UUID": ("with", {"id": UUID(int=1)}, "params", {"id": "00000000-0000-0000-0000-000000000001"}),
    "a duration in params": ("with", {"for": timedelta(hours=2)}, "params", {"for": "2h"}),
    "a boolean condition": ("if", False, "condition", "False"),
    "a blank condition": ("if", "", "condition", None),
    "one need": ("needs", "a", "needs", ("a",)),
    "needs twice": ("needs", ["a", "b", "a"], "needs", ("a", "b")),
    "no needs": ("needs", [], "needs", ()),
    "a jump": ("needs", "jump", "needs", "jump"),
    "attempts alone": ("retry", 4, "retry", (Retry(attempts=4),)),
    "one policy": (
        "retry",
        {"attempts": 4, "delay": "2s"},
        "retry",
        (Retry(attempts=4, delay=timedelta(seconds=2)),),
    ),
    "policies": ("retry", [{"errors": "A"}, Retry()], "retry", (Retry(errors=("A",)), Retry())),
    "no retry": ("retry", [], "retry", ()),
    "no timeout": ("timeout", None, "timeout", None),
    "no timeout in words": ("timeout", "none", "timeout", None),
    "seconds": ("timeout", 90, "timeout", timedelta(seconds=90)),
    "days": ("delay", "3d", "delay", timedelta(days=3)),
    "a blank queue": ("queue", "", "queue", None),
    "a blank next": ("next", "", "next", None),
}


@pytest.mark.parametrize(("field", "value", "attribute", "expected"), READ.values(), ids=READ)
def test_field_is_read_as_its_meaning(field: str, value: Any, attribute: str, expected: Any) -> None:
    spec, problems = read_definition({"name": "demo", "steps": [{"type": "x.y", field: value}]})

    assert problems == []
    assert getattr(spec.steps[0], attribute) == expected


def test_step_without_a_name_is_named_for_its_type() -> None:
    types = ["mail.send", "mail.send", "flow.set", "mail.send"]
    data = {
        "name": "demo",
        "steps": [*({"type": type} for type in types), {"type": "x.y", "name": "mail_send_2"}],
    }

    assert [step.name for step in read_definition(data)[0].steps] == [
        "mail_send",
        "mail_send_3",
        "flow_set",
        "mail_send_4",
        "mail_send_2",
    ]


def test_many_steps_of_one_long_type_get_names_that_fit() -> None:
    data = {"name": "demo", "steps": [{"type": "a." + "b" * 140}] * 1000}
    names = [step.name for step in read_definition(data)[0].steps]

    assert len(set(names)) == 1000
    assert max(map(len, names)) <= 64


def test_every_problem_is_told_at_once() -> None:
    data = {"format": 9, "name": "a b", "queue": 1, "steps": [{"type": 1, "next": 2}, 7, {"if": "x"}]}
    problems = read_definition(data)[1]

    assert [(problem.step, problem.field) for problem in problems] == [
        ("", "name"),
        ("", "queue"),
        ("", "format"),
        ("step", "type"),
        ("step", "next"),
        ("step_2", ""),
        ("step_3", "type"),
    ]
