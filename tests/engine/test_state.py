"""The state of a run: what handlers write, when it is kept, and what they may not write."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import override_settings

from django_workflow import trigger
from django_workflow.engine.execute import work
from django_workflow.exceptions import NotStorable
from django_workflow.models import Run
from tests.support.runs import start, step_run

pytestmark = pytest.mark.django_db(transaction=True)
VALUES = {
    "moment": datetime(2026, 1, 31, 12, 30, tzinfo=UTC),
    "day": date(2026, 1, 31),
    "price": Decimal("12.50"),
    "span": timedelta(days=2, seconds=3),
    "number": UUID("00000000-0000-7000-8000-000000000001"),
    "nested": [{"price": Decimal("0.10")}, None, True, 1.5],
}


def test_what_a_handler_writes_the_next_one_reads(register) -> None:
    @register("tests.write")
    def write(context) -> None:
        context.state["values"] = VALUES

    @register("tests.read")
    def read(context) -> bool:
        return context.state["values"] == VALUES

    assert start([{"type": "tests.write"}, {"type": "tests.read"}]).output is True


def test_a_handler_that_writes_state_then_raises_leaves_it_as_before(register) -> None:
    @register("tests.write")
    def write(context) -> None:
        context.state["a"]["b"] = 2
        context.state["c"] = 3
        raise ValueError("after writing")

    run = start([{"type": "tests.write"}], {"a": {"b": 1}})
    assert (run.status, run.state) == ("failed", {"a": {"b": 1}})
    assert step_run(run, "tests_write").state_changes is None


def test_each_attempt_begins_with_the_state_as_it_was(register) -> None:
    seen = []

    @register("tests.write")
    def write(context) -> None:
        seen.append(dict(context.state))
        context.state["tries"] = context.attempt
        if context.attempt < 3:
            raise ValueError

    run = start([{"type": "tests.write", "retry": {"attempts": 3, "delay": 0}}])
    assert seen == [{}, {}, {}]
    assert run.state == {"tries": 3}


def test_a_change_in_place_is_found_and_a_deletion_is_a_write(register) -> None:
    @register("tests.write")
    def write(context) -> None:
        context.state["list"].append(2)
        del context.state["gone"]
        assert context.state["same"] == 1

    run = start([{"type": "tests.write"}], {"list": [1], "gone": 1, "same": 1})
    assert run.state == {"list": [1, 2], "same": 1}
    assert step_run(run, "tests_write").state_changes == {"list": [1, 2], "gone": {"$deleted": True}}


def test_parallel_steps_merge_what_they_write_by_key() -> None:
    steps = [
        {"name": "one", "type": "flow.set", "with": {"a": 1, "both": 1}, "needs": []},
        {"name": "two", "type": "flow.set", "with": {"b": 2, "both": 2}, "needs": []},
    ]
    assert start(steps).state == {"a": 1, "b": 2, "both": 2}


def test_the_state_at_any_point_is_the_input_and_the_changes_in_order() -> None:
    steps = [{"type": "flow.set", "with": {"a": number, f"key{number}": True}} for number in range(4)]
    run = start(steps, {"a": None})
    replayed = dict(run.input)
    for row in run.step_runs.order_by("number"):
        replayed |= row.state_changes
    assert replayed == run.state


def test_a_handler_that_changes_its_params_changes_no_state(register) -> None:
    @register("tests.change")
    def change(values: list) -> None:
        values.append("changed")

    run = start(
        [
            {"type": "tests.change", "with": {"values": "{{ list }}"}},
            {"type": "tests.echo", "with": {"value": "{{ list }}"}},
        ],
        {"list": []},
    )
    assert run.output == []


@pytest.mark.parametrize(
    ("write", "path"),
    [
        (lambda state: state.update(user={"avatar": b"png"}), "state.user.avatar"),
        (lambda state: state.update(user=[1, object()]), "state.user[1]"),
        (lambda state: state.update(user={1: 2}), "state.user"),
        (lambda state: state.update(steps={}), "state.steps"),
        (lambda state: state["kept"].update(set={1}), "state.kept.set"),
    ],
)
def test_a_value_that_cannot_be_stored_names_its_path_and_the_state_stays(register, write, path) -> None:
    @register("tests.write")
    def handler(context) -> None:
        context.state["other"] = "lost with it"
        write(context.state)

    run = start([{"type": "tests.write", "retry": {"attempts": 3}}], {"kept": {"a": 1}})
    assert (run.status, run.state) == ("failed", {"kept": {"a": 1}})
    assert run.error.startswith(f"{path}:")
    assert run.step_runs.count() == 1


@pytest.mark.parametrize(
    ("value", "path"),
    [({"a": {1, 2}}, "output.a"), ([1, [object()]], "output[1][0]"), (float("nan"), "output")],
)
def test_an_output_that_cannot_be_stored_names_its_path(register, value, path) -> None:
    @register("tests.give")
    def give() -> object:
        return value

    run = start([{"type": "tests.give"}])
    assert run.status == "failed"
    assert run.error.startswith(f"{path}:")


def test_input_that_cannot_be_stored_is_refused_with_its_path() -> None:
    start([{"type": "tests.echo"}])
    with pytest.raises(NotStorable, match=r"^input\.user\.avatar:"):
        trigger("flow", {"user": {"avatar": b"png"}})
    assert Run.objects.count() == 1


@pytest.mark.parametrize("word", ["steps", "errors", "run", "item", "index", "error"])
def test_the_words_of_expressions_are_no_keys_of_the_input(word) -> None:
    start([{"type": "tests.echo"}])
    with pytest.raises(NotStorable, match=rf"^input\.{word}:"):
        trigger("flow", {word: 1})


LARGE = "x" * 3000


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([{"type": "flow.set", "with": {"large": "{{ text }}{{ text }}{{ text }}"}}], "with.large: "),
        ([{"type": "tests.large"}], "output: 4003 bytes"),
        ([{"type": "tests.grow"}], "state: "),
        ([{"type": "tests.grow"}, {"type": "tests.grow"}], "state: "),
    ],
)
@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "MAX_BYTES": 4000})
def test_what_is_over_the_limit_fails_with_its_size(register, steps, error) -> None:
    @register("tests.large")
    def large() -> str:
        return "x" * 4001

    @register("tests.grow")
    def grow(context) -> None:
        context.state[f"more{len(context.state)}"] = LARGE

    run = start(steps, {"text": "x" * 1500})
    assert run.status == "failed"
    assert error in run.error
    assert "4000" in run.error or "4,000" in run.error


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "MAX_BYTES": 4000})
def test_steps_that_together_write_too_much_do_not_both_succeed(register) -> None:
    @register("tests.outer")
    def outer(context) -> None:
        # The other branch writes while this one has its state already.
        dict(context.state)
        work("default")
        context.state["outer"] = LARGE

    @register("tests.inner")
    def inner(context) -> None:
        context.state["inner"] = LARGE

    steps = [{"type": "tests.outer", "needs": []}, {"type": "tests.inner", "needs": []}]
    run = start(steps, on_failure=None)
    assert (run.status, list(run.state)) == ("failed", ["inner"])
    assert run.error.startswith("state: 6")


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "MAX_BYTES": 4000})
def test_an_input_over_the_limit_is_refused() -> None:
    start([{"type": "tests.echo"}])
    with pytest.raises(NotStorable, match="MAX_BYTES"):
        trigger("flow", {"large": "x" * 4000})
