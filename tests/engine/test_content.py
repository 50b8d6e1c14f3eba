"""Values that PostgreSQL refuses and SQLite stores: every database behaves alike, and no run gets stuck."""

from __future__ import annotations

from decimal import Decimal

import pytest

from django_workflow import trigger
from django_workflow.exceptions import NotStorable
from django_workflow.models import Run
from tests.support.runs import fresh, history, start, step_run

pytestmark = pytest.mark.django_db(transaction=True)
BAD = {
    "nul": "a\0b",
    "surrogate": "a\ud800b",
    "nan": float("nan"),
    "infinity": float("-inf"),
    "decimal nan": Decimal("NaN"),
    "key": {1: 2},
    "nul in a key": {"a\0": 1},
    "bytes": b"a",
    "deep": None,
    "huge": 10**1500,
}
deep: list[object] = []
for _ in range(200):
    deep = [deep]
BAD["deep"] = deep
ODD_BUT_FINE = {
    "large": 10**300,
    "small": -(2**63) - 1,
    "float": 1e300,
    "tiny": 5e-324,
    "minus zero": -0.0,
    "whole float": 1.0,
    "text": "\u2028 \U0001f600 \x01 \x7f ' \" \\",
    "long": "x" * 100_000,
    "empty": {"": ""},
    "dollar": {"$model": "a.b", "$dict": {"$date": 1}},
    "decimal": Decimal("1E+50"),
    "true": True,
}
FAILING = {"name": "one", "type": "tests.work"}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_a_value_no_database_keeps_fails_the_step_for_good_and_is_refused_as_input(register, value) -> None:
    def work(context, place: str) -> object:
        if place == "output":
            return {"it": value}
        context.state["it"] = value
        return None

    register("tests.work")(work)
    register("tests.work_atomically", atomic=True)(work)
    for type in ("tests.work", "tests.work_atomically"):
        for place in ("output", "state"):
            step = {"name": "one", "type": type, "with": {"place": place}}
            run = start([{**step, "retry": {"attempts": 3, "delay": 0}}], {"before": 1})
            assert (run.status, run.state, step_run(run, "one").output) == ("failed", {"before": 1}, None)
            assert run.error.startswith(f"{place}.it")
            assert run.error_type.endswith("NotStorable")
    with pytest.raises(NotStorable, match=r"^input\.it"):
        trigger("flow", {"it": value})
    assert Run.objects.count() == 4


@pytest.mark.parametrize("value", ODD_BUT_FINE.values(), ids=ODD_BUT_FINE)
def test_an_odd_value_comes_back_the_same(register, value) -> None:
    seen = []

    @register("tests.work")
    def work(context, value: object = None) -> object:
        seen.extend([value, context.state["it"], context.steps["two"]])
        context.state["again"] = context.state["it"]
        return value

    steps = [
        {"name": "two", "type": "tests.echo", "with": {"value": "{{ it }}"}},
        {**FAILING, "with": {"value": "{{ it }}"}},
        {"name": "three", "type": "tests.work", "with": {"value": "{{ again }}"}},
    ]
    run = start(steps, {"it": value})
    assert run.status == "done"
    assert seen == [value] * 6
    assert fresh(run).output_of("three") == value
    assert [type(each) for each in seen] == [type(seen[0])] * 6


@pytest.mark.parametrize(
    "text",
    ["a\0b", "a\ud800b", "x" * 100_000, "ä" * 20_000 + "\0", ""],
    ids=["nul", "surrogate", "long", "wide", "empty"],
)
@pytest.mark.parametrize("atomic", [False, True])
def test_errors_and_log_lines_are_cleaned_and_cut(register, text, atomic) -> None:
    @register("tests.work", atomic=atomic)
    def work(context) -> None:
        context.log("line", text)
        raise ValueError(text)

    run = start([FAILING])
    row = step_run(run, "one")
    assert (run.status, row.error_type) == ("failed", "ValueError")
    assert 0 < len(row.error) <= 10_000
    assert len(row.logs) == 1
    assert len(row.logs[0]) <= 2_000
    assert row.logs[0].startswith("line")
    for kept in (row.error, row.traceback, row.logs[0], run.error):
        assert "\0" not in kept
        assert "\ud800" not in kept


def test_an_error_named_longer_than_its_column_is_cut(register) -> None:
    kind = type("Long" * 200, (ValueError,), {})

    @register("tests.work")
    def work() -> None:
        raise kind("broken")

    run = start([FAILING])
    assert (run.status, len(run.error_type) <= 255) == ("failed", True)


def test_a_thousand_log_lines_are_the_most(register) -> None:
    @register("tests.work")
    def work(context) -> None:
        for number in range(1100):
            context.log(number)

    run = start([FAILING])
    assert run.status == "done"
    assert len(step_run(run, "one").logs) == 1000


@pytest.mark.parametrize(
    "progress",
    [
        (1, 3),
        (0.5, 1.0),
        (Decimal("0.5"), 2),
        (float("nan"), 1),
        (1, float("inf")),
        ("a", "b"),
        (None, None),
        (10**400, 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("fails", [False, True])
def test_odd_progress_does_not_leave_the_run_stuck(register, progress, fails) -> None:
    @register("tests.work")
    def work(context) -> None:
        context.progress(*progress)
        if fails:
            raise ValueError("broken")

    run = fresh(start([FAILING]))
    assert run.status in ("done", "failed")
    if fails:
        assert run.status == "failed"


def test_progress_is_kept(register) -> None:
    @register("tests.work")
    def work(context) -> None:
        context.progress(1, 3)
        context.progress(3, 3)

    assert step_run(start([FAILING]), "one").progress == {"done": 3, "total": 3}


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (0, False), (True, 1), ([1], [True]), ({"a": 0}, {"a": False}), (1, 1.5), ("1", 1)],
)
def test_a_change_of_type_alone_is_a_change(register, before, after) -> None:
    @register("tests.work")
    def work(context) -> None:
        context.state["it"] = after

    run = fresh(start([FAILING], {"it": before}))
    assert repr(run.state["it"]) == repr(after)


def test_what_the_next_step_sees_is_what_a_later_process_would_read(register) -> None:
    kinds = []

    @register("tests.work")
    def work(context) -> None:
        context.state["it"] = (1, {"a": (2, 3)})

    @register("tests.see")
    def see(context) -> None:
        kinds.append(context.state["it"])

    start([FAILING, {"type": "tests.see"}])
    assert kinds == [[1, {"a": [2, 3]}]]


@pytest.mark.parametrize(
    "outcome",
    [object(), {1, 2}, b"a", print, ValueError("a"), (x for x in "ab")],
    ids=lambda value: type(value).__name__,
)
def test_an_outcome_that_is_no_json_says_what_to_give(register, outcome) -> None:
    @register("tests.work")
    def work() -> object:
        return outcome

    run = start([FAILING])
    assert (run.status, history(run)) == ("failed", ["one:failed"])
    assert "give" in run.error or "JSON" in run.error
