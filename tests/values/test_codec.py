"""The codec: what goes in comes out, alike on every database, and the rest is refused by its place."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import TextChoices
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.codec import check_size, decode, encode, load
from django_workflow.exceptions import DeletedReference, NotStorable, TooLarge
from django_workflow.references import ModelReference
from django_workflow.storable import clean_text
from tests.testapp.models import Customer, Order

ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.dates(),
    st.datetimes(timezones=ZONES),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.builds(
        ModelReference, st.just("testapp.order"), st.integers() | TEXT, st.sampled_from(["default", "other"])
    ),
)
KEYS = TEXT | st.sampled_from(["$model", "$dict", "$date", "pk", "$", "using"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)


class Colour(TextChoices):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Shape(Enum):
    POINT = (1, 2)


class Shouting(str):
    def __str__(self) -> str:
        return "HELLO"


@dataclass
class Address:
    street: str


Pair = namedtuple("Pair", "left right")


def through_json(value: Any, **alias: str) -> Any:
    return decode(json.loads(json.dumps(encode(value, "state", **alias))), **alias)


@given(VALUES)
def test_what_is_stored_is_read_back_equal(value: Any) -> None:
    assert through_json(value) == value


@given(VALUES, st.sampled_from(["default", "other"]))
def test_what_is_read_back_is_stored_the_same_again(value: Any, using: str) -> None:
    once = encode(value, "state", using=using)
    assert encode(decode(once, using=using), "state", using=using) == once


@given(
    st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.dictionaries(KEYS, inner), max_leaves=12)
)
def test_plain_data_never_reads_as_anything_else(value: Any) -> None:
    assert json.dumps(through_json(value)) == json.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_stored_so_that_jsonb_does_not_change_it(value: float) -> None:
    stored = encode(value, "state")
    text = json.dumps(stored)
    as_jsonb_writes_it = format(Decimal(text), "f")  # numeric: no exponent, no minus zero
    assert json.loads(as_jsonb_writes_it) == stored
    assert type(json.loads(as_jsonb_writes_it)) is type(stored)
    assert not text.startswith("-0.0") or value != 0


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2,)), [1, [2]]),
        (Pair(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (Colour.RED, "red"),
        ({Colour.RED: 1}, {"red": 1}),
        (Level.HIGH, 3),
        (Shape.POINT, [1, 2]),
        (Shouting("hello"), "hello"),
        (gettext_lazy("pending"), "pending"),
        (SimpleLazyObject(lambda: {"a": 1}), {"a": 1}),
        (True, True),
        (1e16, 10000000000000000),
        (1e300, int(1e300)),
        (1e15, 1e15),
        (date(2026, 1, 31), {"$date": "2026-01-31"}),
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), {"$datetime": "2026-01-31T09:30:00+00:00"}),
        (time(9, 30), {"$time": "09:30:00"}),
        (timedelta(hours=-1), {"$timedelta": "-P0DT01H00M00S"}),
        (Decimal("12.50"), {"$decimal": "12.50"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        ({"$model": "auth.user", "pk": 1}, {"$dict": {"$model": "auth.user", "pk": 1}}),
        (ModelReference("testapp.order", 5), {"$model": "testapp.order", "pk": 5}),
        (
            ModelReference("testapp.order", 5, "other"),
            {"$model": "testapp.order", "pk": 5, "using": "other"},
        ),
    ],
)
def test_the_stored_form(value: Any, stored: Any) -> None:
    assert encode(value, "state") == stored
    assert type(encode(value, "state")) is type(stored)


def test_the_sign_of_zero_is_not_kept() -> None:
    assert str(encode(-0.0, "state")) == "0.0"


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ({"user": {"avatar": b"x"}}, "state.user.avatar", "bytes"),
        ([1, 2, 3, {4}], "state[3]", "sorted list"),
        ({"a b": [object()]}, "state['a b'][0]", "object"),
        (Address("Main"), "state", "asdict"),
        (float("nan"), "state", "nan"),
        (float("inf"), "state", "inf"),
        (Decimal("NaN"), "state", "finite"),
        (Decimal("-Infinity"), "state", "finite"),
        ("a\0b", "state", "NUL"),
        ("\ud800", "state", "surrogate"),
        ({"a\0b": 1}, "state", "NUL"),
        ({"x": {"\udfff": 1}}, "state.x", "surrogate"),
        ({5: 1}, "state", "the key 5 is a int, not text"),
        ({"x": {None: 1}}, "state.x", "not text"),
        (10**1000, "state", "digits"),
        (-(10**1000), "state", "digits"),
        (AnonymousUser(), "state", "anonymous"),
        ({"user": SimpleLazyObject(AnonymousUser)}, "state.user", "anonymous"),
        ({"order": Order(number="1")}, "state.order", "testapp.Order is not saved"),
        ({"order": Order(pk=7)}, "state.order", "not saved"),
        (ModelReference("testapp.order", "a\0"), "state", "NUL"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_place(value: Any, place: str, reason: str) -> None:
    with pytest.raises(NotStorable) as caught:
        encode(value, "state")
    assert caught.value.path == place
    assert reason in str(caught.value)


def test_the_longest_integer_is_read_back() -> None:
    assert through_json(10**1000 - 1) == 10**1000 - 1


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_has_a_limit() -> None:
    assert encode(nested(100), "state") == nested(100)
    with pytest.raises(NotStorable, match="100 deep"):
        encode(nested(101), "state")


def test_a_value_within_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(NotStorable, match="within itself"):
        encode(value, "state")


@pytest.mark.parametrize(
    "stored",
    [
        {"$new": 1},
        {"a": 1, "b": 2, "c": 3, "d": 4, "$new": 5},
        {"$date": "yesterday"},
        {"$date": 5},
        {"$decimal": "x"},
        {"$timedelta": "x"},
        {"$model": "testapp.order"},
        {"$dict": 1},
    ],
)
def test_a_tag_that_cannot_be_read_is_an_error(stored: Any) -> None:
    with pytest.raises(NotStorable, match=r"tagged \$"):
        decode({"x": [stored]})


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize(
    ("row", "run", "stored_alias"),
    [
        ("default", "default", None),
        ("other", "other", None),
        ("other", "default", "other"),
        ("default", "other", "default"),
    ],
)
def test_a_reference_carries_its_alias_when_it_is_not_the_runs(
    row: str, run: str, stored_alias: str | None
) -> None:
    order = Order.objects.using(row).create(number="A1")
    stored = encode(order, "state", using=run)
    assert stored.get("using") == stored_alias
    assert decode(stored, using=run) == ModelReference("testapp.order", order.pk, row)


@pytest.mark.django_db
def test_load_puts_fresh_rows_in_place_of_references() -> None:
    order = Order.objects.create(number="A1")
    decoded = through_json({"order": order, "many": [order], "n": 1})
    Order.objects.update(number="A2")
    loaded = load(decoded)
    assert loaded == {"order": order, "many": [order], "n": 1}
    assert loaded["order"].number == "A2"
    assert isinstance(decoded["order"], ModelReference)


@pytest.mark.django_db
def test_load_names_the_row_that_is_gone() -> None:
    with pytest.raises(DeletedReference, match=r"testapp\.Customer 5 no longer exists"):
        load({"customer": ModelReference("testapp.customer", 5)})


@pytest.mark.django_db
def test_a_lazy_user_is_stored_as_its_row() -> None:
    user = User.objects.create(username="somebody")
    stored = encode({"user": SimpleLazyObject(lambda: user)}, "state")
    assert stored == {"user": {"$model": "auth.user", "pk": user.pk}}


@pytest.mark.django_db
def test_a_deleted_instance_is_refused() -> None:
    customer = Customer.objects.create(name="A")
    customer.delete()
    with pytest.raises(NotStorable, match="not saved"):
        encode(customer, "output")


@given(VALUES)
def test_size_is_that_of_the_json(value: Any) -> None:
    stored = encode(value, "state")
    text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    assert check_size(stored, "state", size) == size
    with pytest.raises(TooLarge, match=f"^state: {size} bytes .* limit is {size - 1}"):
        check_size(stored, "state", size - 1)


@given(st.text(st.characters()), st.integers(min_value=3, max_value=40))
def test_cleaned_text_is_storable_and_short(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert encode(cleaned, "error") == cleaned
    assert len(cleaned) == min(len(text), limit)


def test_cleaned_text_keeps_its_beginning_and_more_of_its_end() -> None:
    assert clean_text("abc" + "x" * 50 + "the end", 10) == "abc…he end"
