"""A start as a command line and as Python: what is pasted does the same."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from django_workflow import define
from django_workflow.insight.as_code import as_command, as_python
from django_workflow.models import Run
from tests.testapp.models import Order

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
typed = st.one_of(
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
)
keys = st.text(min_size=1, max_size=20)


def python_of(input: dict[str, Any], key: str = "") -> tuple[Any, ...]:
    """Return what the Python code triggers; nothing is started."""
    names: dict[str, Any] = {"trigger": lambda *args, **options: (*args, options)}
    exec(as_python("send", input, key).replace("from django_workflow import trigger\n", ""), names)
    found: tuple[Any, ...] = names["run"]
    return found


@given(st.dictionaries(keys, plain, min_size=1), keys)
def test_a_shell_hands_on_what_was_filled_in(values: dict[str, Any], key: str) -> None:
    words = shlex.split(as_command("send", values, key))
    assert words[:4] == ["python", "manage.py", "trigger_workflow", "send"]
    assert words[4:-2] in (["--key", key], [f"--key={key}"])
    assert json.loads(words[-1]) == values


@given(st.dictionaries(keys, plain | typed, min_size=1), keys)
def test_python_hands_on_what_was_filled_in(values: dict[str, Any], key: str) -> None:
    assert python_of(values, key) == ("send", values, {"key": key})


def test_nothing_filled_in_is_left_out() -> None:
    assert as_command("send", {}, "") == "python manage.py trigger_workflow send"
    assert as_python("send", {}, "") == "from django_workflow import trigger\n\nrun = trigger('send')"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2030, 5, 1), "2030-05-01"),
        (datetime(2030, 5, 1, 12, tzinfo=UTC), "2030-05-01T12:00:00+00:00"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=2), "2h"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), str(UUID(int=1))),
        (Order(pk=3), 3),
        ([{"a": Decimal(1)}], [{"a": "1"}]),
    ],
)
def test_a_command_gives_values_as_the_declared_input_reads_them(value: Any, text: Any) -> None:
    assert json.loads(shlex.split(as_command("send", {"value": value}, ""))[-1]) == {"value": text}


@pytest.mark.django_db
def test_what_is_pasted_starts_the_same_run() -> None:
    order = Order.objects.create(number="A 17")
    define(
        "send",
        steps=[{"type": "flow.set"}],
        input={"order": "testapp.Order", "on": "date", "wait": "duration"},
    )
    values = {"order": order, "on": date(2030, 5, 1), "wait": timedelta(days=99, seconds=1)}
    exec(as_python("send", values, "it's"), {})
    call_command(*shlex.split(as_command("send", values, "-dash"))[2:], stdout=StringIO(), stderr=StringIO())
    one, other = Run.objects.get(key="it's"), Run.objects.get(key="-dash")
    assert one.input == other.input
    assert one.input["order"]["pk"] == order.pk
