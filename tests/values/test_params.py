"""Params: read from signatures, forms and declarations; checked at publish, converted at the call."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Optional, Required, TypedDict
from uuid import UUID

import pytest
from django import forms
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.db.migrations.state import ProjectState
from django.db.models import TextChoices
from django.test import override_settings
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from django_workflow.exceptions import ParamsError, RegistrationError
from django_workflow.models import Failure, Run, Workflow
from django_workflow.params import (
    Condition,
    Params,
    Secret,
    Signature,
    StepName,
    declared_params,
    read_signature,
)
from django_workflow.params.annotations import kind_of
from django_workflow.params.reading import Misfit, Reading
from django_workflow.references import ModelReference
from tests.testapp.models import Customer, Order, Tag

if TYPE_CHECKING:
    from collections import Counter


MARKUP = "<b>'\""


class Context:
    """Stands for the class whose annotation asks for the context."""


class Colour(TextChoices):
    RED = "red", "Red"
    BLUE = "blue", "Blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    street: str
    number: int = 1


class Login(TypedDict):
    user: str
    key: Secret


class Parcel(TypedDict):
    """Annotations are texts here, so the class itself takes ``note`` for required."""

    weight: Decimal
    note: NotRequired[str]


class Loose(Parcel, total=False):
    size: int
    owner: Required[str]


class Endless(TypedDict):
    inner: list[Endless]


SECRETS = {"stripe": "sk_1", "vault": lambda: "from the vault"}
AT_CALL = Reading(using="default")


def signature(function: Any, **options: Any) -> Signature:
    return read_signature(function, context_type=Context, **options)


def params_of(annotation: Any, default: Any = ...) -> Params:
    def handler(**params: Any) -> None: ...

    def one(x): ...  # type: ignore[no-untyped-def]

    one.__annotations__ = {"x": annotation}
    one.__defaults__ = None if default is ... else (default,)
    return signature(one).params


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{{") and value.endswith("}}")


def check(params: Params, values: Mapping[str, Any]) -> dict[str, list[str]]:
    return params.check(values, is_expression=is_expression)


def convert(params: Params, values: Mapping[str, Any]) -> dict[str, Any]:
    return params.convert(values, what="step 'x'", using="default")


CONVERTED = [
    (str, "a", "a"),
    (str, 3, "3"),
    (str, Decimal("12.50"), "12.50"),
    (str, date(2026, 1, 31), "2026-01-31"),
    (str, UUID(int=1), str(UUID(int=1))),
    (int, 3, 3),
    (int, "3", 3),
    (int, " -3 ", -3),
    (int, 3.0, 3),
    (int, Decimal("3"), 3),
    (float, 1, 1.0),
    (float, "1.5", 1.5),
    (bool, True, True),
    (bool, "true", True),
    (bool, "False", False),
    (Decimal, "12.50", Decimal("12.50")),
    (Decimal, 0.1, Decimal("0.1")),
    (Decimal, 3, Decimal("3")),
    (date, "2026-01-31", date(2026, 1, 31)),
    (datetime, "2026-01-31T09:30:00+00:00", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    (datetime, "2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    (datetime, "2026-01-31 09:30", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    (datetime, date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
    (time, "09:30", time(9, 30)),
    (timedelta, "2h", timedelta(hours=2)),
    (timedelta, 90, timedelta(seconds=90)),
    (UUID, str(UUID(int=1)), UUID(int=1)),
    (list, (1, "a"), [1, "a"]),
    (list[int], ["1", 2], [1, 2]),
    (list[list[int]], [["1"], []], [[1], []]),
    (dict, {"a": 1}, {"a": 1}),
    (dict[str, Decimal], {"a": "1.5"}, {"a": Decimal("1.5")}),
    (Optional[int], None, None),  # noqa: UP045
    (int | None, "3", 3),
    (str | list[str], "a", "a"),
    (str | list[str], ["a"], ["a"]),
    (str | int, 3, 3),
    (int | str, "3", "3"),
    (Literal["a", 3, None], "3", 3),
    (Literal["a", 3, None], None, None),
    (Colour, "red", Colour.RED),
    (Colour, Colour.BLUE, Colour.BLUE),
    (Level, 2, Level.HIGH),
    (Level, "2", Level.HIGH),
    (Annotated[int, "How many"], "3", 3),
    (Address, {"street": "Main", "number": "2"}, Address(street="Main", number=2)),
    (Parcel, {"weight": "1.5"}, {"weight": Decimal("1.5")}),
    (Parcel, {"weight": 2, "note": "x"}, {"weight": Decimal(2), "note": "x"}),
    (Loose, {"weight": 2, "owner": "x"}, {"weight": Decimal(2), "owner": "x"}),
    (list[Loose], [{"weight": 2, "owner": "x", "size": "3"}], [{"weight": 2, "owner": "x", "size": 3}]),
    (Any, {"a": [1]}, {"a": [1]}),
    (StepName, "charge", "charge"),
    (StepName | None, None, None),
    (Condition, True, True),
    (Secret, "stripe", "sk_1"),
    (Secret, "vault", "from the vault"),
]


@override_settings(DJANGO_WORKFLOW={"SECRETS": SECRETS})
@pytest.mark.parametrize(("annotation", "value", "expected"), CONVERTED)
def test_what_the_handler_gets_is_what_is_annotated(annotation: Any, value: Any, expected: Any) -> None:
    params = params_of(annotation)
    read = convert(params, {"x": value})["x"]
    assert read == expected
    assert type(read) is type(expected)
    assert check(params, {"x": value}) == {}


REFUSED = [
    (str, None),
    (str, True),
    (str, ["a"]),
    (str, {}),
    (int, 3.5),
    (int, True),
    (int, "3.5"),
    (int, "three"),
    (int, "1" * 5000),
    (int, Decimal("1E+999999")),
    (int, None),
    (float, "nan"),
    (float, "x"),
    (float, False),
    (float, 10**999),
    (bool, 1),
    (bool, "maybe"),
    (bool, None),
    (Decimal, "twelve"),
    (Decimal, "NaN"),
    (Decimal, True),
    (date, "31/01/2026"),
    (date, datetime(2026, 1, 31, tzinfo=UTC)),
    (date, 5),
    (datetime, "soon"),
    (datetime, 5),
    (time, "25:00"),
    (timedelta, "soon"),
    (timedelta, True),
    (UUID, "x"),
    (UUID, 5),
    (list, "abc"),
    (list, {"a": 1}),
    (dict, [1]),
    (dict, {1: 1}),
    (int | None, "x"),
    (Literal["a", 3], "b"),
    (Literal[1], True),
    (Colour, "green"),
    (Level, 3),
    (Address, "Main"),
    (Address, {"number": 1}),
    (Parcel, {"note": "x"}),
    (Parcel, {"weight": "x"}),
    (Parcel, {"weight": 1, "hieght": 2}),
    (Parcel, [1]),
    (Loose, {"weight": 1}),
    (Order, True),
    (Order, "x"),
    (Order, 1.5),
    (Order, {"$model": "testapp.order", "pk": 1}),
    (Order, None),
    (StepName, 5),
    (Condition, 5),
    (Secret, "other"),
    (Secret, 5),
]


@override_settings(DJANGO_WORKFLOW={"SECRETS": SECRETS})
@pytest.mark.parametrize(("annotation", "value"), REFUSED)
def test_what_does_not_fit_is_refused_at_publish_and_at_the_call(annotation: Any, value: Any) -> None:
    params = params_of(annotation)
    assert list(check(params, {"x": value})) == ["x"]
    with pytest.raises(ParamsError) as caught:
        convert(params, {"x": value})
    assert list(caught.value.problems) == ["x"]


@given(
    st.sampled_from(
        [str, int, float, bool, Decimal, date, datetime, timedelta, UUID, list[int], Colour, int | None]
    ),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.lists(st.text())
    ),
)
def test_any_value_fits_or_is_a_misfit(annotation: Any, value: Any) -> None:
    kind = kind_of(annotation)
    with suppress(Misfit):
        read = kind.read(value, AT_CALL)
        assert kind.read(read, AT_CALL) == read


def test_problems_of_every_place_come_at_once() -> None:
    def handler(to: str, count: int, many: dict[str, list[int]], subject: str = "") -> None: ...

    params = signature(handler).params
    values = {"count": "x", "many": {"a": [1, "b", None], "c": 1}, "subjekt": "Hi"}
    expected = {
        "to": ["is required"],
        "count": ["'x' is no whole number"],
        "many": [
            "['a'][1]: 'b' is no whole number",
            "['a'][2]: None is no whole number",
            "['c']: 1 is no list",
        ],
        "subjekt": ["is unknown; did you mean 'subject'?"],
    }
    assert check(params, values) == expected
    with pytest.raises(ParamsError, match=r"^step 'x': ") as caught:
        convert(params, values)
    assert caught.value.problems == expected


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (int, "{{ count }}", True),
        (list[int], "{{ counts }}", True),
        (list[int], [1, "{{ count }}"], True),
        (list[int], ["x", "{{ count }}"], False),
        (dict[str, int], {"a": "{{ count }}"}, True),
        (Address, {"street": "{{ street }}"}, True),
        (Address, {"street": "Main", "number": "{{ number }}"}, True),
        (Order, "{{ order }}", True),
        (str, "Order {{ order.number }}", True),
        (date, "2026-{{ month }}-01", True),
        (str | None, "Order {{ order.number }}", True),
        (list[int], "a {{ count }}", False),
        (dict, "a {{ count }}", False),
        (list[int] | None, "a {{ count }}", False),
        (Condition, "order.total > 1000", True),
        (Secret, "{{ name }}", False),
        (Secret | None, "{{ name }}", False),
        (Secret | int, "{{ name }}", False),
        (Secret | int, 5, True),
        (int | str, "{{ name }}", True),
        (Login, "{{ login }}", False),
        (Login, {"user": "{{ name }}", "key": "{{ name }}"}, False),
        (Secret, "{{ 'stripe' }}", False),
        (list[Secret], "{{ names }}", False),
        (list[Secret], ["{{ name }}"], False),
        (dict[str, Secret], "{{ names }}", False),
        (dict[str, Secret], {"a": "{{ name }}"}, False),
    ],
)
def test_what_is_not_yet_known_passes_at_publish(annotation: Any, value: Any, fits: bool) -> None:
    assert (check(params_of(annotation), {"x": value}) == {}) is fits


def test_a_condition_is_evaluated_before_the_call() -> None:
    with pytest.raises(ParamsError, match="no condition"):
        convert(params_of(Condition), {"x": "order.total > 1000"})


def test_a_naive_datetime_is_in_the_current_time_zone() -> None:
    with timezone.override("Europe/Paris"):
        read = convert(params_of(datetime), {"x": "2026-07-01T09:30"})["x"]
    assert read == datetime(2026, 7, 1, 7, 30, tzinfo=UTC)


def test_no_message_shows_a_secret() -> None:
    params = params_of(Secret)
    with override_settings(DJANGO_WORKFLOW={"SECRETS": SECRETS}):
        (problem,) = check(params, {"x": "sk_1"})["x"]
    assert problem.endswith("known: stripe, vault")
    assert "sk_1" not in problem


@pytest.mark.parametrize(
    ("annotation", "name", "value"),
    [
        (int, "api_key", "sk_live_999"),
        (int, "api_key", "y"),
        (bool, "api_key", 40_777),
        (Literal["a"], "token", "sk_live_999"),
        (int | None, "token", "sk_live_999 and a text that is much longer than any message shows of it"),
        (list[int], "password", ["sk_live_999"]),
        (dict[str, int], "settings", {"api_key": "sk_live_999"}),
        (dict[str, bool], "settings", {"api_key": 40_777}),
        (list[dict[str, int]], "settings", [{"api_key": "sk_live_999", "b": 1}]),
        (int, "settings", {"api_key": "sk_live_999"}),
        (Address, "settings", {"street": 1, "api_key": "sk_live_999"}),
    ],
)
def test_no_message_shows_what_is_hidden(annotation: Any, name: str, value: Any) -> None:
    (x,) = params_of(annotation)
    params = Params(items=(replace(x, name=name, python_name=name),))
    with pytest.raises(ParamsError) as refused:
        convert(params, {name: value})
    for text in (str(refused.value), *check(params, {name: value}).get(name, ())):
        for hidden in ("sk_live", "'y'", "40777"):
            assert hidden not in text


def test_a_message_shows_what_is_not_hidden() -> None:
    with pytest.raises(ParamsError, match="x: 'sk_live_999' is no whole number"):
        convert(params_of(int), {"x": "sk_live_999"})


@pytest.mark.parametrize(
    "more",
    [
        {"default": "sk_live_999"},
        {"initial": "sk_live_999"},
        {"choices": [1, "sk_live_999"]},
        {"choices": [["sk_live_999", "live"]]},
    ],
)
def test_no_message_shows_a_hidden_value_of_a_declaration(more: dict[str, Any]) -> None:
    with pytest.raises(ParamsError) as refused:
        declared_params({"api_key": {"type": "int", **more}})
    assert "sk_live" not in str(refused.value)
    assert "is no whole number" in str(refused.value)


def test_no_message_of_a_form_shows_what_is_hidden() -> None:
    class TokenForm(forms.Form):
        token = forms.ChoiceField(choices=[("a", "a")])

    def handler(**params: Any) -> None: ...

    params = read_signature(handler, context_type=Context, form=TokenForm).params
    with pytest.raises(ParamsError) as refused:
        convert(params, {"token": "sk_live_999"})
    assert "sk_live" not in str(refused.value)
    for text in (str(refused.value), *check(params, {"token": "sk_live_999"})["token"]):
        assert "sk_live" not in text
        assert "Select a valid choice" in text


def test_a_secret_that_is_a_default_is_resolved_too() -> None:
    def handler(key: Secret = "stripe", other: Secret | None = None, plain: str = "p") -> None: ...

    with override_settings(DJANGO_WORKFLOW={"SECRETS": SECRETS}):
        assert convert(signature(handler).params, {}) == {"key": "sk_1", "other": None}


@pytest.mark.django_db(databases=["default", "other"])
def test_a_row_is_fetched_from_its_reference_its_key_or_taken_as_it_is() -> None:
    order = Order.objects.create(number="A1")
    params = params_of(Order)
    for value in (ModelReference("testapp.order", order.pk), order.pk, str(order.pk), order):
        assert convert(params, {"x": value}) == {"x": order}
        assert check(params, {"x": value}) == {}


@pytest.mark.django_db(databases=["default", "other"])
def test_a_key_is_looked_up_on_the_runs_alias() -> None:
    order = Order.objects.using("other").create(number="B1")
    read = params_of(Order).convert({"x": order.pk}, what="input", using="other")
    assert read["x"]._state.db == "other"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "testapp.Order 5 no longer exists"),
        (ModelReference("testapp.order", 5), "testapp.Order 5 no longer exists"),
        (ModelReference("testapp.customer", 5), "testapp.Customer 5 is no testapp.Order"),
        (ModelReference("gone.thing", 5), "no installed app has the model 'gone.thing'"),
        (Customer(name="A"), "a testapp.Customer is no testapp.Order"),
        (SimpleLazyObject(AnonymousUser), "anonymous"),
    ],
)
def test_a_row_that_cannot_be_given_is_named(value: Any, problem: str) -> None:
    with pytest.raises(ParamsError, match=problem):
        convert(params_of(Order), {"x": value})


@pytest.mark.django_db
def test_a_row_of_a_proxys_base_is_one_of_the_proxy_and_the_other_way_round() -> None:
    workflow = Workflow.objects.create(name="shop")
    run = Run.objects.create(workflow=workflow, created_at=timezone.now())
    failure = Failure.objects.get(pk=run.pk)
    assert convert(params_of(Failure), {"x": run}) == {"x": run}
    assert convert(params_of(Run), {"x": failure}) == {"x": failure}
    with pytest.raises(ParamsError, match=r"a django_workflow\.Workflow is no django_workflow\.Failure"):
        convert(params_of(Failure), {"x": workflow})


@pytest.mark.django_db
def test_a_row_that_a_migration_read_is_one_of_its_model() -> None:
    Order.objects.create(number="A1")
    historical = ProjectState.from_apps(apps).apps.get_model("testapp", "Order")
    order = historical.objects.get()
    assert not isinstance(order, Order)
    assert declared_params({"order": "testapp.Order"}).convert(
        {"order": order}, what="input", using="default"
    ) == {"order": order}


@pytest.mark.django_db
def test_rows_are_given_within_anything_too() -> None:
    tag = Tag.objects.create(name="new")
    reference = ModelReference("testapp.tag", tag.pk)

    def handler(one: Any, many: list[Any], typed: dict[str, Tag], untyped=None, **params: Any) -> None: ...  # type: ignore[no-untyped-def]

    values = {
        "one": {"a": reference},
        "many": [reference],
        "typed": {"a": tag.pk},
        "untyped": reference,
        "more": reference,
    }
    expected = {"one": {"a": tag}, "many": [tag], "typed": {"a": tag}, "untyped": tag, "more": tag}
    assert convert(signature(handler).params, values) == expected


@pytest.mark.django_db
def test_publishing_asks_no_database_for_a_key(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert check(params_of(Order), {"x": 5}) == {}


# Signatures


def named_context(to: str, context: Any) -> None: ...
def annotated_context(ctx: Context, to: str) -> None: ...
def unresolved_context(to: str, *, context: Counter) -> None: ...  # type: ignore[type-arg]
def annotated_wins(context: str, ctx: Context, to: str = "") -> None: ...
async def asynchronous(context: Context, to: str) -> None: ...
def no_context(to: str) -> None: ...


def logged(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "context_name", "names"),
    [
        (named_context, "context", ["to"]),
        (annotated_context, "ctx", ["to"]),
        (unresolved_context, "context", ["to"]),
        (annotated_wins, "ctx", ["context", "to"]),
        (asynchronous, "context", ["to"]),
        (no_context, None, ["to"]),
        (logged(annotated_context), "ctx", ["to"]),
    ],
)
def test_the_context_is_found_wherever_it_stands(
    function: Any, context_name: str | None, names: list[str]
) -> None:
    read = signature(function)
    assert read.context_name == context_name
    assert [param.name for param in read.params] == names


def test_an_underscore_escapes_a_word_of_python() -> None:
    def handler(if_: Condition, then: StepName | None = None, **params: Any) -> None: ...

    params = signature(handler).params
    assert [(param.name, param.python_name, param.marker) for param in params] == [
        ("if", "if_", "condition"),
        ("then", "then", "step"),
    ]
    assert convert(params, {"if": True, "more": 1}) == {"if_": True, "more": 1}
    assert list(check(params, {"if": True, "if_": 1})) == ["if_"]


def test_any_other_name_is_taken_where_the_handler_takes_it() -> None:
    def handler(context: Context, to: str = "", **params: Any) -> None: ...

    params = signature(handler).params
    assert params.extra
    assert convert(params, {"to": "a", "more": [1]}) == {"to": "a", "more": [1]}
    assert "uses this name itself" in check(params, {"context": 1})["context"][0]


def test_a_default_of_python_stays_pythons() -> None:
    def handler(count: int = 3) -> None: ...

    (param,) = signature(handler).params
    assert (param.required, param.default) == (False, 3)
    assert convert(signature(handler).params, {}) == {}


def test_help_comes_from_the_annotation() -> None:
    def handler(to: Annotated[str, "Who gets it"], cc: Annotated[str, "A copy"] | None = None) -> None: ...

    assert [param.help for param in signature(handler).params] == ["Who gets it", "A copy"]


def type_checking(context: Context, counter: Counter[str]) -> None: ...
def nested_unknown(counter: list[Counter[str]]) -> None: ...
def positional_only(to: str, /) -> None: ...
def star(*to: str) -> None: ...
def unsupported(to: set[str]) -> None: ...
def no_kind(to: Context | bytes) -> None: ...
def endless(to: Endless) -> None: ...
def number_keys(to: dict[int, str]) -> None: ...
def two_contexts(one: Context, two: Context) -> None: ...
def twins(if_: str, **params: Any) -> None: ...
def both_spellings(to: str, to_: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (type_checking, ["type_checking", "'counter'", "'Counter[str]'", "TYPE_CHECKING"]),
        (nested_unknown, ["nested_unknown", "'counter'", "'list[Counter[str]]'"]),
        (positional_only, ["positional_only", "'to'", "positional-only"]),
        (star, ["star", "'to'", "* parameter"]),
        (unsupported, ["unsupported", "'to'", "set[str]", "Supported:"]),
        (no_kind, ["no_kind", "'to'", "Context"]),
        (endless, ["endless", "'to'", "Endless", "cannot be resolved"]),
        (number_keys, ["number_keys", "'to'", "keys must be str"]),
        (two_contexts, ["two_contexts", "one, two"]),
        (both_spellings, ["both_spellings", "'to' and 'to_'"]),
    ],
)
def test_a_parameter_that_no_definition_can_fill_is_refused(function: Any, words: list[str]) -> None:
    with pytest.raises(RegistrationError) as caught:
        signature(function)
    assert [word for word in words if word not in str(caught.value)] == []


# Forms and JSON Schema


@pytest.mark.parametrize(
    ("annotation", "text", "cleaned"),
    [
        (str, " a ", " a "),
        (int, "3", 3),
        (Decimal, "1.50", Decimal("1.50")),
        (bool, "", False),
        (timedelta, "2h", "2h"),
        (list[int], "[1]", [1]),
        (Literal["a", 3], "3", 3),
        (Colour, "red", "red"),
        (int | None, "", None),
        (str | list[str], '["a"]', ["a"]),
        (Condition, "a > 1", "a > 1"),
        (Secret, "stripe", "stripe"),
    ],
)
@override_settings(DJANGO_WORKFLOW={"SECRETS": SECRETS})
def test_a_form_takes_what_the_handler_takes(annotation: Any, text: str, cleaned: Any) -> None:
    form = params_of(annotation).form_class()({"x": text})
    assert form.is_valid(), form.errors
    assert form.cleaned_data == {"x": cleaned}


@pytest.mark.parametrize(("annotation", "text"), [(int, "a"), (timedelta, "soon"), (Level, "3"), (str, "")])
def test_a_form_refuses_what_does_not_fit(annotation: Any, text: str) -> None:
    assert list(params_of(annotation).form_class()({"x": text}).errors) == ["x"]


def test_no_text_of_a_param_is_markup_in_a_form() -> None:
    def handler(a: Annotated[str, MARKUP] = MARKUP, b: Annotated[Literal["<b>"], MARKUP] = "<b>") -> None: ...

    declared = {MARKUP: {"type": "str", "help": MARKUP, "choices": [[MARKUP, MARKUP]], "initial": MARKUP}}
    for params in (signature(handler).params, declared_params(declared)):
        html = params.form_class()().as_div()
        assert "<b>" not in html
        assert "&lt;b&gt;&#x27;&quot;</div>" in html


def test_a_field_tells_its_label_help_and_default() -> None:
    def handler(from_email: Annotated[str, "The sender"] = "a@example.com") -> None: ...

    field = signature(handler).params.fields()["from_email"]
    told = (field.label, field.help_text, field.initial, field.required)
    assert told == ("From email", "The sender", "a@example.com", False)


def test_the_schema_describes_all_params() -> None:
    def handler(
        order: Order, colour: Colour, many: Annotated[list[int], "Numbers"], price: Decimal = Decimal("1.5")
    ) -> None: ...

    assert signature(handler).params.schema() == {
        "type": "object",
        "properties": {
            "order": {"type": ["integer", "string"], "description": "the key of a testapp.Order"},
            "colour": {"enum": ["red", "blue"]},
            "many": {"type": "array", "items": {"type": "integer"}, "description": "Numbers"},
            "price": {"type": ["string", "number"], "format": "decimal", "default": "1.5"},
        },
        "required": ["order", "colour", "many"],
        "additionalProperties": False,
    }


def test_the_schema_of_a_typed_dict_names_its_keys() -> None:
    assert kind_of(Parcel).schema() == {
        "type": "object",
        "properties": {
            "weight": {"type": ["string", "number"], "format": "decimal"},
            "note": {"type": "string"},
        },
        "required": ["weight"],
        "additionalProperties": False,
    }


class TagForm(forms.Form):
    tag = forms.ModelChoiceField(queryset=Tag.objects.all())
    count = forms.IntegerField(min_value=1, initial=2, help_text="How many")
    when = forms.DateTimeField(required=False)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("count") == 13:
            self.add_error("count", "13 brings bad luck")
        return data


def with_form(context: Context, tag: Tag, count: int, when: Counter[str]) -> None: ...


@pytest.mark.django_db
def test_the_form_cleans_what_the_handler_gets() -> None:
    tag = Tag.objects.create(name="new")
    params = signature(with_form, form=TagForm).params
    expected = {"tag": tag, "count": 3, "when": None}
    for value in (tag, tag.pk, ModelReference("testapp.tag", tag.pk)):
        assert convert(params, {"tag": value, "count": 3}) == expected
    assert convert(params, {"tag": tag.pk}) == {**expected, "count": 2}


@pytest.mark.django_db
def test_the_forms_errors_are_problems() -> None:
    tag = Tag.objects.create(name="new")
    params = signature(with_form, form=TagForm).params
    with pytest.raises(ParamsError, match="count: 13 brings bad luck"):
        convert(params, {"tag": tag, "count": 13})
    assert check(params, {"cuont": 1}) == {
        "tag": ["is required"],
        "cuont": ["is unknown; did you mean 'count'?"],
    }
    assert params.form_class() is TagForm
    assert list(params.fields()) == ["tag", "count", "when"]


class ManyFields(forms.Form):
    name = forms.CharField(max_length=5)
    size = forms.TypedChoiceField(choices=[("", "–"), (1, "small"), ("More", [(2, "big")])], coerce=int)
    colours = forms.MultipleChoiceField(choices=Colour.choices, required=False)
    count = forms.IntegerField(min_value=1, max_value=9, initial=3)
    price = forms.DecimalField(required=False)
    ratio = forms.FloatField(required=False)
    is_new = forms.BooleanField(required=False, label="New", help_text="Whether")
    day = forms.DateField(required=False)
    mail = forms.EmailField(required=False)
    extra = forms.JSONField(required=False)
    tag = forms.ModelChoiceField(Tag.objects.all(), required=False)
    tags = forms.ModelMultipleChoiceField(Tag.objects.all(), required=False)


class AskingForm(forms.Form):
    """Its choices are those of this moment."""

    tag = forms.ChoiceField(choices=lambda: [(tag.name, tag.name) for tag in Tag.objects.all()])


class FilledLater(forms.Form):
    size = forms.ChoiceField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["size"].choices = [("s", "S")]


def any_params(**params: Any) -> None: ...


MANY = {"name": "short", "size": 1}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("name", "too long", "at most 5 characters"),
        ("name", "", "required"),
        ("size", 3, "Select a valid choice. 3"),
        ("colours", ["red", "green"], "green is not one of the available choices"),
        ("count", 0, "greater than or equal to 1"),
        ("count", "many", "whole number"),
        ("price", "cheap", "Enter a number"),
        ("day", "soon", "valid date"),
        ("mail", "nobody", "valid email"),
    ],
)
def test_a_literal_that_a_field_of_the_form_refuses_is_told_at_publish(
    name: str, value: Any, text: str
) -> None:
    params = signature(any_params, form=ManyFields).params
    problems = check(params, {**MANY, name: value})
    assert list(problems) == [name]
    assert text in problems[name][0]


@pytest.mark.parametrize(
    "values",
    [
        {"size": "2", "colours": ["red"], "count": "{{ n }}", "price": "1.5", "day": "2026-01-31"},
        {"name": "a {{ long }} text", "mail": "{{ user }}@example.com"},
        {"colours": ["{{ colour }}"], "extra": {"a": [1]}, "is_new": False},
        {"tag": 17, "tags": [1, 2]},
    ],
)
def test_what_fits_the_form_or_is_not_yet_known_passes_at_publish(values: Any) -> None:
    assert check(signature(any_params, form=ManyFields).params, {**MANY, **values}) == {}


@pytest.mark.django_db
@pytest.mark.parametrize(("form", "value"), [(AskingForm, "new"), (FilledLater, "s")])
def test_publishing_asks_no_database_for_a_form(form: type[forms.Form], value: str) -> None:
    # No tag has the name, so a form that was let ask would refuse it.
    [name] = form.base_fields
    assert check(signature(any_params, form=form).params, {name: value}) == {}


def test_the_schema_of_a_form_has_types_bounds_and_choices() -> None:
    row = {"type": ["integer", "string"], "description": "the key of a testapp.Tag"}
    assert signature(any_params, form=ManyFields).params.schema()["properties"] == {
        "name": {"type": "string", "maxLength": 5},
        "size": {"enum": [1, 2]},
        "colours": {"type": "array", "items": {"enum": ["red", "blue"]}},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "price": {"type": ["string", "number"], "format": "decimal"},
        "ratio": {"type": "number"},
        "is_new": {"title": "New", "type": "boolean", "description": "Whether"},
        "day": {"type": "string", "format": "date"},
        "mail": {"type": "string", "format": "email", "maxLength": 320},
        "extra": {},
        "tag": row,
        "tags": {"type": "array", "items": row},
    }


def test_form_and_handler_must_name_the_same_params() -> None:
    def missing(tag: Tag, count: int) -> None: ...
    def unfilled(tag: Tag, count: int, when: Any, more: str) -> None: ...

    with pytest.raises(RegistrationError, match="no parameter for the form's fields when"):
        signature(missing, form=TagForm)
    with pytest.raises(RegistrationError, match="TagForm has no field for more"):
        signature(unfilled, form=TagForm)


# Declared input


@pytest.mark.django_db
def test_declared_input_is_read_by_its_types() -> None:
    order = Order.objects.create(number="A1")
    params = declared_params(
        {
            "order": "testapp.Order",
            "count": {"type": "int", "default": "3"},
            "note": {"type": "str", "required": False, "help": "For the parcel"},
            "size": {"type": "str", "choices": ["S", ["L", "Large"]], "initial": "S"},
            "wait": "duration",
            "anything": {},
        }
    )
    read = convert(params, {"order": order.pk, "size": "L", "wait": "2d", "anything": None})
    expected = {
        "order": order,
        "count": 3,
        "note": None,
        "size": "L",
        "wait": timedelta(days=2),
        "anything": None,
    }
    assert read == expected
    assert check(params, {"order": order.pk, "wait": "1d", "anything": 1, "size": "M"}) == {
        "size": ["'M' is none of 'S', 'L'"]
    }
    assert params.fields()["size"].initial == "S"
    assert params.fields()["note"].help_text == "For the parcel"


@pytest.mark.parametrize(
    "name", ["str", "int", "float", "bool", "decimal", "Decimal", "uuid", "UUID", "list", "dict", "any"]
)
def test_every_type_has_a_name(name: str) -> None:
    assert [param.name for param in declared_params({"x": name})] == ["x"]


def test_everything_wrong_with_a_declaration_comes_at_once() -> None:
    with pytest.raises(ParamsError) as caught:
        declared_params(
            {
                "a": "strr",
                "b": "testapp.Gone",
                "c": {"type": "int", "default": "x", "requird": True},
                "d": 5,
                "e": {"type": "str", "choices": []},
                "f": {"type": "testapp.Order", "choices": [1]},
                "g": {"type": "int", "choices": ["x"]},
                "h": {"type": "str", "required": "yes", "help": 5},
                "i": {"type": "str", "required": True, "default": "a"},
                "j": {"type": ["str"]},
                "k": {"type": "str", "choices": [["a", "b", "c"]]},
                "fine": "str",
            }
        )
    problems = caught.value.problems
    assert problems["a"] == ["unknown type 'strr'; did you mean 'str'?"]
    assert problems["b"] == ["no installed app has the model 'testapp.Gone'"]
    assert len(problems["c"]) == 2
    assert list(problems) == list("abcdefghijk")
