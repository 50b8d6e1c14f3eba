"""Names of expressions that cannot be there are found when a definition is published."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from django_workflow import define
from django_workflow.context import StepContext
from django_workflow.definition.spec import Problem
from django_workflow.definition.validate import check_definition
from django_workflow.exceptions import DefinitionError
from django_workflow.outcomes import Goto, WaitForEvent
from django_workflow.registry import Handler, get_handler
from tests.testapp.models import Customer, Order


class Line(TypedDict):
    """What is sold, and how many."""

    name: str
    count: int


class Charge(TypedDict, total=False):
    """What a provider answers."""

    id: str
    order: Order
    lines: list[Line]


def charge() -> Charge | WaitForEvent:
    """Declares its keys; cannot write the state, for it takes no context."""
    return {}


def find_lines() -> list[Line]:
    """Gives a list."""
    return []


def count() -> dict[str, int]:
    """Gives any keys, and a number under each."""
    return {}


def find_customer() -> Customer | None:
    """Gives a row."""
    return None


def leave() -> Goto | Line:
    """May jump, with any output."""
    return Goto("a")


def notify(text: Any = None) -> None:
    """Reads."""


def write(context: StepContext, text: Any = None) -> None:
    """May write anything to the state."""


FUNCTIONS = (charge, find_lines, count, find_customer, leave, notify, write)
OWN = {f"app.{each.__name__}": Handler(type=f"app.{each.__name__}", function=each) for each in FUNCTIONS}
INPUT = {"customer": "testapp.Customer", "order": "testapp.Order", "amount": {"type": "int", "default": 3}}


def check(*steps: dict[str, Any], input: Any = INPUT) -> list[Problem]:
    data = {"name": "demo", "steps": list(steps), "input": input}
    return check_definition(data, lambda type: OWN.get(type) or get_handler(type))[1]


def step(name: str, type: str = "app.notify", **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": type, **fields}


def reads(text: Any, **fields: Any) -> dict[str, Any]:
    return step("reader", **{"with": {"text": text}}, **fields)


CHARGE = step("charge", "app.charge")
WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a field of a row": ([reads("{{ customer.nam }}")], "customer has no readable field 'nam'"),
    "a close field": ([reads("{{ customer.nam }}")], "did you mean 'name'?"),
    "a field behind a key": ([reads("{{ order.customer.mail }}")], "no readable field 'mail'"),
    "a hidden field": ([reads("{{ customer.password }}")], "customer.password is hidden"),
    "a method": ([reads("{{ order.grand_total }}")], "no readable field 'grand_total'"),
    "a relation to many": ([reads("{{ order.tags }}")], "no readable field 'tags'"),
    "a field of a field": ([reads("{{ order.number.first }}")], "single value (text)"),
    "a name within a key's value": ([reads("{{ order.customer_id.name }}")], "single value (whole number)"),
    "a name within an input": ([reads("{{ amount.value }}")], "single value (whole number)"),
    "an input": ([reads("{{ custmer.name }}")], "did you mean 'customer'?"),
    "an input among text": ([reads("Dear {{ custmer.name }}!")], "no input is declared with this name"),
    "an input in a list": ([reads([{"x": "{{ custmer }}"}])], "no input is declared with this name"),
    "an input as an argument": ([reads('{{ amount|default:"x"|cut:amuont }}')], "did you mean 'amount'?"),
    "a default that is a name": ([reads("{{ amount|default:null }}")], "null: no input"),
    "a key that is set later": (
        [reads("{{ total }}"), step("b", "flow.set", **{"with": {"total": 1}})],
        "no step before sets it",
    ),
    "a key of an output": ([CHARGE, reads("{{ steps.charge.idd }}")], "did you mean 'id'?"),
    "a key of a row in an output": (
        [CHARGE, reads("{{ steps.charge.order.totl }}")],
        "did you mean 'total'?",
    ),
    "a key in a list in an output": ([CHARGE, reads("{{ steps.charge.lines.0.nam }}")], "'name'?"),
    "a key of a list in an output": ([CHARGE, reads("{{ steps.charge.lines.name }}")], "in a list"),
    "a name within a counted value": (
        [step("count", "app.count"), reads("{{ steps.count.apples.red }}")],
        "single value (whole number)",
    ),
    "a field of a row that may be missing": (
        [step("find", "app.find_customer"), reads("{{ steps.find.nam }}")],
        "did you mean 'name'?",
    ),
    "a key of an outcome of a map": (
        [step("charge", "app.charge", for_each="order.number"), reads("{{ steps.charge.id }}")],
        "in a list",
    ),
    "a key of an item": (
        [step("find", "app.find_lines"), reads("{{ item.nam }}", for_each="steps.find")],
        "did you mean 'name'?",
    ),
    "a name within an index": ([reads("{{ index.x }}", for_each="order.number")], "single value"),
    "a key of the error": ([reads("{{ error.mesage }}")], "did you mean 'message'?"),
    "a key of an ended step's error": (
        [step("charge", "app.charge", on_error="continue"), reads("{{ errors.charge.text }}")],
        "there is no 'text'",
    ),
    "a name within the run's id": ([reads("{{ run.id.x }}")], "single value (text)"),
    "a key of an approval": (
        [step("ask", "flow.approval", **{"with": {"group": "x"}}), reads("{{ steps.ask.reason }}")],
        "known: by, at, note, data, answers",
    ),
    "a key of a wait": (
        [step("wait", "flow.wait", **{"with": {"event": "x"}}), reads("{{ steps.wait.paylod.x }}")],
        "did you mean 'payload'?",
    ),
}


@pytest.mark.parametrize(("steps", "text"), WRONG.values(), ids=WRONG)
def test_name_that_cannot_be_there_is_an_error(steps: list[dict[str, Any]], text: str) -> None:
    (problem,) = check(*steps)

    assert (problem.step, problem.field, problem.level) == ("reader", "with.text", "error")
    assert text in problem.message


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("if", {"if": "custmer.name == 'x' and amount > 3"}),
        ("for_each", {"for_each": "custmer"}),
        ("undo.with.text", {"undo": {"type": "app.notify", "with": {"text": "{{ custmer }}"}}}),
        ("undo.with.text", {"undo": {"type": "app.notify", "with": {"text": "{{ output.ident }}"}}}),
    ],
)
def test_every_field_with_expressions_is_checked(field: str, changed: dict[str, Any]) -> None:
    (problem,) = check(step("charge", "app.charge", **changed))

    assert (problem.field, problem.level) == (field, "error")


def test_condition_of_a_branch_is_checked() -> None:
    pick = step("pick", "flow.branch", **{"with": {"if": "custmer.name", "then": "reader"}})

    (problem,) = check(pick, reads(""))

    assert (problem.field, problem.level) == ("with.if", "error")


FINE: dict[str, list[dict[str, Any]]] = {
    "fields, keys and columns": [
        reads("{{ customer.name }}{{ customer.pk }}{{ order.customer.id }}{{ order.customer_id }}")
    ],
    "an input with a default": [reads("{{ amount }}")],
    "a key that a step before sets": [
        step("set", "flow.set", **{"with": {"total": 1}}),
        reads("{{ total }}{{ total.anything }}"),
    ],
    "a key that a parallel step sets": [
        step("a"),
        step("set", "flow.set", needs=["a"], **{"with": {"total": 1}}),
        reads("{{ total }}", needs=["a"]),
    ],
    "a key that a loop sets": [
        reads("{{ total|default:0 }}"),
        step("set", "flow.set", **{"with": {"total": 1}}, next="reader"),
    ],
    "an input that a step sets to something else": [
        step("set", "flow.set", **{"with": {"customer": {"nick": "x"}}}),
        reads("{{ customer.nick }}"),
    ],
    "outputs": [CHARGE, reads("{{ steps.charge.id }}{{ steps.charge.lines.0.count }}")],
    "any key of a dict": [step("count", "app.count"), reads("{{ steps.count.apples }}")],
    "an output of a step that may jump": [
        step("a", "app.leave"),
        reads("{{ steps.a.anything }}"),
    ],
    "an output that a person may give": [step("a"), reads("{{ steps.a.anything }}")],
    "items": [step("find", "app.find_lines"), reads("{{ item.name }}{{ index }}", for_each="steps.find")],
    "errors": [
        step("a", on_error="continue"),
        reads("{{ errors.a.message }}{{ error.step }}{{ run.key }}"),
    ],
    "errors of items": [
        step("a", on_error="continue", for_each="order.number"),
        reads("{{ errors.a.0.index }}{{ errors.a.message }}"),
    ],
    "an item that is undone": [
        step("find", "app.find_lines"),
        step(
            "charge",
            "app.charge",
            for_each="steps.find",
            undo={
                "type": "app.notify",
                "with": {"text": "{{ output.id }}{{ item.name }}{{ steps.charge.id }}"},
            },
        ),
    ],
}


@pytest.mark.parametrize("steps", FINE.values(), ids=FINE)
def test_name_that_may_be_there_is_no_problem(steps: list[dict[str, Any]]) -> None:
    assert [problem for problem in check(*steps) if problem.level == "error"] == []


def test_name_that_only_a_handlers_code_could_write_is_a_warning() -> None:
    (problem,) = check(step("writer", "app.write"), reads("{{ custmer.name }}"))

    assert (problem.step, problem.field, problem.level) == ("reader", "with.text", "warning")
    assert "only if the code of writer" in problem.message
    assert "did you mean 'customer'?" in problem.message


def test_step_before_the_handler_that_could_write_the_name_is_an_error() -> None:
    (problem,) = check(reads("{{ custmer.name }}"), step("writer", "app.write"))

    assert problem.level == "error"


def test_default_makes_a_warning_of_what_can_never_be_there() -> None:
    (problem,) = check(reads('{{ customer.nam|upper|default:"friend" }}'))

    assert problem.level == "warning"


def test_default_covers_what_a_handlers_code_may_write() -> None:
    assert check(step("writer", "app.write"), reads('{{ total|default:"none" }}')) == []


def test_without_declared_input_any_name_of_the_state_may_be_there() -> None:
    assert check(reads("{{ custmer.nam }}"), input=None) == []


def test_declared_input_of_nothing_has_no_names() -> None:
    (problem,) = check(reads("{{ customer }}"), input={})

    assert problem.level == "error"


def test_wrong_declaration_is_told_once() -> None:
    (problem,) = check(reads("{{ customer.nam }}"), input={"customer": "testapp.Nobody"})

    assert problem.field == "input"


@pytest.mark.django_db
def test_definition_with_a_wrong_name_is_not_published() -> None:
    mail = {"type": "mail.send", "with": {"to": "{{ usr.email }}", "body": "Dear {{ user.first_nam }}"}}

    with pytest.raises(DefinitionError) as caught:
        define("welcome", input={"user": "auth.User"}, steps=[{**mail, "on_error": "continue"}])

    assert "did you mean 'user'?" in str(caught.value)
    assert "did you mean 'first_name'?" in str(caught.value)


def test_many_unknown_names_are_checked_in_reasonable_time() -> None:
    steps = [
        step(f"s{number}", "app.write", **{"with": {"text": "{{ a }}{{ b }}{{ c }}{{ d }}{{ e }}"}})
        for number in range(1000)
    ]

    # Of the first step they are errors; of the others warnings, of which a hundred are told.
    assert len(check(*steps)) == 5 + 100
