"""A definition that is slow on purpose: what is said of it, and how long that takes, is bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from django_workflow import DefinitionError, ParamsError, step
from django_workflow.definition import validate
from django_workflow.definition.conditions import parse_condition
from django_workflow.definition.expressions import parse_expression
from django_workflow.definition.spec import MAX_STEPS
from django_workflow.definition.text import read_text
from django_workflow.engine.judge import check_definition
from django_workflow.exceptions import ExpressionError
from django_workflow.params import declared_params
from django_workflow.registry import get_handler

LONG = "x" * 100_000
MORE = "only the first 100 problems are listed; mend these first"


@step("bounds.numbers", idempotent=True)
def numbers(values: list[int] | None = None) -> None:
    """Take a list of numbers."""


def steps(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"name": f"step_number_{number}", "type": "flow.set", **fields} for number in range(count)]


def unknown_needs() -> Iterator[dict[str, Any]]:
    for number, each in enumerate(steps(MAX_STEPS)):
        yield {**each, "needs": [f"step_numbr_{number}_{other}" for other in range(5)]}


HOSTILE: dict[str, dict[str, Any]] = {
    "needs": {"steps": list(unknown_needs())},
    "fields of a step": {"steps": [{"type": "flow.set"} | {f"field_{each}": 1 for each in range(20_000)}]},
    "fields": {"steps": steps(1), **{f"field_{each}": 1 for each in range(20_000)}},
    "steps that are none": {"steps": [5] * 10_000},
    "steps without a type": {"steps": [{}] * 10_000},
    "params": {"steps": [{"type": "mail.send", "with": {f"key_{each}": 1 for each in range(20_000)}}]},
    "items of a param": {"steps": [{"type": "bounds.numbers", "with": {"values": ["x"] * 20_000}}]},
    "input": {"input": {f"name_{each}": f"strr{each}" for each in range(5000)}, "steps": steps(1)},
    "form of an approval": {
        "steps": [
            {
                "type": "flow.approval",
                "with": {"users": ["a"], "form": {f"n{n}": "strr" for n in range(5000)}},
            }
        ]
    },
    "wrong values": {"steps": steps(200, max_parallel=0)},
    "types": {"steps": steps(MAX_STEPS, type=f"flow.{LONG}")},
    "names": {"steps": [{"name": f"{LONG}{number}", "type": "flow.set"} for number in range(200)]},
    "a long field": {"steps": [{"type": "flow.set", LONG: 1}] * 200},
    "a long target": {"steps": steps(200, next=LONG)},
    "a long error": {"steps": steps(200, on_error={LONG: LONG})},
    "a long param": {"steps": steps(200, type="mail.send", **{"with": {LONG: 1}})},
    "a long input": {"input": {LONG: LONG}, "steps": steps(1)},
    "filters": {"steps": steps(200, **{"with": {"a": f"{{{{ a|{LONG[:3000]} }}}}"}})},
    "conditions": {"steps": steps(200, **{"if": "a == " * 790})},
    "endings": {"steps": steps(MAX_STEPS, type="flow.end", needs=[])},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_said_of_a_hostile_definition_is_bounded(name: str) -> None:
    _spec, problems = check_definition({"name": "hostile", **HOSTILE[name]})
    assert 0 < len(problems) <= 102
    assert len("\n".join(map(str, problems))) < 100_000
    assert max(len(problem.message) for problem in problems) <= 1000


def test_where_more_is_wrong_than_is_listed_the_list_says_so() -> None:
    _spec, problems = check_definition({"name": "many", "steps": steps(150, next="nobody")})
    assert MORE in map(str, problems)
    assert len(problems) == 101
    _spec, problems = check_definition({"name": "some", "steps": steps(100, next="nobody")})
    assert MORE not in map(str, problems)
    assert len(problems) == 100


def test_warnings_leave_room_for_the_errors_below_them() -> None:
    ends = steps(200, type="flow.end", needs=[])
    _spec, problems = check_definition(
        {"name": "many", "steps": [*ends, {"type": "flow.set", "next": "nobody"}]}
    )
    assert [problem.field for problem in problems if problem.level == "error"] == ["next"]
    _spec, problems = check_definition({"name": "many", "steps": ends})
    assert {problem.level for problem in problems} == {"warning"}


def test_twenty_unknown_names_get_a_hint() -> None:
    given = [{**each, "needs": [f"{each['name']}x"]} for each in steps(50)]
    _spec, problems = check_definition({"name": "many", "steps": given})
    assert len(problems) == 50
    assert sum("did you mean" in problem.message for problem in problems) == 20


def test_few_names_that_are_known_are_listed_and_not_a_thousand() -> None:
    _spec, problems = check_definition(
        {"name": "many", "steps": [*steps(999), *steps(1, name="a", next="zz")]}
    )
    assert "step_number_19, …" in problems[-1].message
    assert "step_number_20" not in problems[-1].message


def test_params_that_are_unknown_at_a_call_are_bounded_too() -> None:
    params = declared_params({"known": "str"})
    with pytest.raises(ParamsError) as caught:
        params.convert({f"key_{each}{LONG}": 1 for each in range(300)}, what="input", using="default")
    assert len(caught.value.problems) == 101
    assert len(str(caught.value)) < 100_000


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_a_key_that_stands_twice_among_many_is_found(format: Any) -> None:
    keys = ", ".join(f'"key_{number}": 1' for number in range(3000))
    with pytest.raises(DefinitionError, match="key_2999"):
        read_text(f'{{{keys}, "key_2999": 2}}', format=format, source="many.txt")


def test_a_key_that_stands_twice_costs_no_square() -> None:
    keys = ", ".join(f'"key_{number}": 1' for number in range(60_000))
    with pytest.raises(DefinitionError, match="key_59999"):
        read_text(f'{{{keys}, "key_59999": 2}}', format="json", source="many.json")


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("a", {("a",)}),
        ("a.b.c1", {("a", "b", "c1")}),
        ("A.b_c", {("A", "b_c")}),
        ("True", set()),
        ("17", set()),
        ("items.0.name", {("items", "0", "name")}),
        ("é.b", {("é", "b")}),
    ],
)
def test_plain_names_and_numbers_are_read_like_any_expression(
    source: str, reads: set[tuple[str, ...]]
) -> None:
    expression = parse_expression(source)
    assert expression.references == reads
    scope = {"a": {"b": {"c1": 1}}, "A": {"b_c": 2}, "items": [{"name": 3}], "é": {"b": 4}}
    filtered = parse_expression(f"{source}|default_if_none:0")
    assert filtered.evaluate(scope) == expression.evaluate(scope)


@pytest.mark.parametrize("source", ["_a", "a._b", "a..b", "a.", ".".join("a" * 51)])
def test_what_is_no_name_is_still_refused(source: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(source)


def test_an_unknown_type_of_many_letters_is_told_short() -> None:
    problems = validate.check_definition({"name": "a", "steps": [{"type": LONG}]}, get_handler)[1]
    assert len(str(problems[0])) < 1000


def test_a_condition_is_named_by_its_beginning() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition("a == " * 700 + "= 1")
    assert len(str(caught.value)) < 500


def test_an_object_of_many_keys_is_still_json() -> None:
    text = json.dumps({f"key_{number}": number for number in range(1000)})
    assert len(read_text(text, format="json", source="a.json")) == 1000
