"""A dry run goes where a run would go, calls no handler and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import End, Goto, define, dry_run, exceptions, trigger
from django_workflow.engine.dry.report import DryRun, DryStep
from django_workflow.engine.dry.words import describe_sleep
from django_workflow.models import Run, StepRun, Workflow
from tests.testapp.models import Customer, Note, Order

from .conftest import Manage

pytestmark = pytest.mark.django_db(transaction=True)


def tried(*arguments: Any, **options: Any) -> DryRun:
    """Return the dry run, having seen that its queries only read."""
    with CaptureQueriesContext(connection) as queries:
        found = dry_run(*arguments, **options)
    assert [each["sql"] for each in queries if not each["sql"].startswith("SELECT")] == []
    return found


def of(found: DryRun, step: str, index: int = -1) -> DryStep:
    (one,) = [each for each in found.steps if each.step == step and each.index == index]
    return one


def echo(name: str, value: Any = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "tests.echo", "with": {"value": value}, **fields}


def set_state(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "type": "flow.set", "with": params}


def test_nothing_is_called_or_kept() -> None:
    define("noted", steps=[{"name": "note", "type": "tests.note"}])
    found = tried("noted", outputs={"note": None})
    assert found.status == "done"
    assert not Note.objects.exists()
    assert not Run.objects.exists()
    assert not StepRun.objects.exists()


def test_outputs_are_read_by_what_comes_after() -> None:
    define("two", steps=[echo("one"), echo("two", "{{ steps.one.id }} of {{ who }}")])
    found = tried("two", {"who": "ada"}, outputs={"one": {"id": 7}, "two": "last"})
    assert found.path == ("one", "two")
    assert of(found, "two").params == {"value": "7 of ada"}
    assert (found.status, found.output, found.state) == ("done", "last", {"who": "ada"})


def test_a_missing_output_stops_and_names_the_step() -> None:
    define("two", steps=[echo("one", "{{ who }}"), echo("two")])
    found = tried("two", {"who": "ada"})
    assert (found.status, found.stopped_at, found.path) == ("stopped", "one", ())
    assert of(found, "one").params == {"value": "ada"}
    assert '{"one": …}' in of(found, "one").note


def test_other_branches_go_on_as_far_as_they_can() -> None:
    steps = [
        echo("left", needs=[]),
        echo("right", needs=[]),
        echo("after_right", needs=["right"]),
        echo("both", needs=["left", "after_right"]),
    ]
    define("branches", steps=steps)
    found = tried("branches", outputs={"right": 1, "after_right": 2, "both": 3})
    assert found.path == ("right", "after_right")
    assert found.missing == ("left",)


def test_a_step_that_a_jump_begins_anew_is_missing_no_longer() -> None:
    ask = {"if": "n == 1", "then": "over"}
    steps = [
        {"name": "ask", "type": "flow.branch", "with": ask, "needs": []},
        echo("unknown", needs=["ask"]),
        {**set_state("back", n=1), "needs": [], "delay": "1d", "next": "ask"},
        echo("over", needs="jump"),
    ]
    define("anew", steps=steps)
    found = tried("anew", {"n": 0}, outputs={"over": 1})
    assert [(each.step, each.status) for each in found.steps[:3]] == [
        ("ask", "done"),
        ("unknown", "stopped"),
        ("back", "done"),
    ]
    assert (found.status, found.missing) == ("done", ())


def test_a_null_output_is_given() -> None:
    define("one", steps=[echo("one")])
    assert tried("one", outputs={"one": None}).status == "done"


def test_a_false_condition_skips_with_the_reason() -> None:
    define("asked", steps=[echo("one", **{"if": "total > 1000"}), echo("two")])
    found = tried("asked", {"total": 5}, outputs={"two": 1})
    assert (of(found, "one").status, of(found, "one").note) == ("skipped", "if total > 1000 is false")
    assert of(found, "one").condition == "total > 1000"
    assert found.path == ("two",)


DECISIONS: list[tuple[list[dict[str, Any]], dict[str, Any], tuple[str, ...], str]] = [
    (
        [
            {"name": "ask", "type": "flow.branch", "with": {"if": "n > 1", "then": "big", "else": "small"}},
            echo("small", next="end"),
            echo("big"),
        ],
        {"n": 2},
        ("ask", "big"),
        "done",
    ),
    (
        [
            {"name": "ask", "type": "flow.branch", "with": {"if": "n > 1", "then": "big", "else": "small"}},
            echo("small", next="end"),
            echo("big"),
        ],
        {"n": 1},
        ("ask", "small"),
        "done",
    ),
    (
        [
            {"name": "ask", "type": "flow.switch", "with": {"value": "{{ n }}", "cases": {"3": "three"}}},
            {"name": "bad", "type": "flow.fail", "with": {"message": "no {{ n }}"}},
            echo("three"),
        ],
        {"n": 3},
        ("ask", "three"),
        "done",
    ),
    ([{"name": "bad", "type": "flow.fail", "with": {"message": "no"}}], {}, ("bad",), "failed"),
    (
        [{"name": "over", "type": "flow.end", "with": {"output": 1}}, echo("never", needs=[])],
        {},
        ("over",),
        "done",
    ),
]


@pytest.mark.parametrize(("steps", "input", "path", "status"), DECISIONS)
def test_our_own_decisions_are_followed(
    steps: list[dict[str, Any]], input: dict[str, Any], path: tuple[str, ...], status: str
) -> None:
    define("decides", steps=steps)
    outputs = {step["name"]: 1 for step in steps if step["type"] == "tests.echo"}
    found = tried("decides", input, outputs=outputs)
    assert (found.path, found.status) == (path, status)


def test_state_is_written_by_our_own_type() -> None:
    define("sets", steps=[set_state("put", total="{{ n }}", n=9), echo("read", "{{ total }}-{{ n }}")])
    found = tried("sets", {"n": 4}, outputs={"read": None})
    assert found.state == {"n": 9, "total": 4}
    assert of(found, "read").params == {"value": "4-9"}


def test_sleeps_and_delays_pass_at_once_and_in_order() -> None:
    steps = [
        {"name": "long", "type": "flow.sleep", "with": {"for": "2d"}, "needs": []},
        {"name": "short", "type": "flow.sleep", "with": {"for": "1h"}, "needs": []},
        echo("late", needs=[], delay="1d"),
    ]
    define("sleeps", steps=steps)
    found = tried("sleeps", outputs={"late": 1})
    assert found.path == ("short", "late", "long")
    assert of(found, "long").note == "would wait 2 days"
    assert of(found, "late").note == "would wait 1 day (delay)"


def test_items_take_a_list_of_outputs() -> None:
    steps = [echo("each", "{{ item }}{{ index }}", for_each="names"), echo("all", "{{ steps.each }}")]
    define("items", steps=steps)
    found = tried("items", {"names": ["a", "b"]}, outputs={"each": [1, None], "all": 0})
    assert [of(found, "each", index).params for index in (0, 1)] == [{"value": "a0"}, {"value": "b1"}]
    assert of(found, "all").params == {"value": [1, None]}


@pytest.mark.parametrize(
    ("outputs", "note"),
    [
        ({}, "one for each item"),
        ({"each": [1]}, "holds 1 outputs for it, and for_each gives 2 items"),
        ({"each": 1}, "has to hold a list"),
    ],
)
def test_items_without_outputs_that_fit_stop(outputs: dict[str, Any], note: str) -> None:
    define("items", steps=[echo("each", "{{ item }}", for_each="names")])
    found = tried("items", {"names": ["a", "b"]}, outputs=outputs)
    assert (found.status, found.stopped_at) == ("stopped", "each")
    assert note in of(found, "each").note


def test_an_empty_list_needs_no_output() -> None:
    define("items", steps=[echo("each", for_each="names")])
    found = tried("items", {"names": []})
    assert (found.status, found.output) == ("done", [])


def test_a_failing_item_may_be_passed_over() -> None:
    steps = [
        echo("each", "{{ item.x }}", for_each="names", on_error="continue"),
        echo("told", "{{ errors.each }}"),
    ]
    define("items", steps=steps)
    found = tried("items", {"names": [{}, {"x": 1}]}, outputs={"each": ["a", "b"], "told": 0})
    assert of(found, "each").output == [None, "b"]
    (error,) = (of(found, "told").params or {})["value"]
    assert error["index"] == 0


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (echo("one", "{{ nobody.knows }}"), "ExpressionError"),
        ({"name": "one", "type": "tests.fail", "with": {"message": "{{ many }}"}}, "ParamsError"),
        (echo("one", **{"if": "many > 1"}), "ExpressionError"),
        (echo("one", for_each="nobody"), "ExpressionError"),
    ],
)
@pytest.mark.parametrize(
    ("on_error", "path", "status"),
    [("fail", ("one",), "failed"), ("continue", ("one", "two"), "done"), ("met", ("one", "met"), "done")],
)
def test_an_error_of_the_definition_is_met_by_on_error(
    step: dict[str, Any], kind: str, on_error: str, path: tuple[str, ...], status: str
) -> None:
    define("errs", steps=[{**step, "on_error": on_error}, echo("two"), echo("met", needs="jump")])
    found = tried("errs", {"many": [1]}, outputs={"one": 1, "two": 2, "met": 3})
    assert of(found, "one").error_type.endswith(kind)
    assert (found.path, found.status) == (path, status)


def test_an_exception_stands_for_a_failure_and_an_outcome_for_itself() -> None:
    steps = [
        echo("one", on_error={"ValueError": "two", "*": "fail"}, retry={"attempts": 5}),
        echo("between"),
        echo("two", "{{ error.message }}"),
        echo("three"),
        echo("four"),
        echo("five"),
    ]
    define("outcomes", steps=steps)
    outputs = {"one": UnicodeError("odd"), "two": Goto("four"), "four": End("over")}
    found = tried("outcomes", outputs=outputs)
    assert found.path == ("one", "two", "four")
    assert of(found, "two").params == {"value": "odd"}
    assert [each.step for each in found.steps if each.status == "skipped"] == ["between", "three"]
    assert found.output == "over"


def test_a_loop_ends_by_max_visits() -> None:
    define("loops", steps=[echo("one"), {**set_state("two", n=1), "next": "one"}], max_visits=3)
    found = tried("loops", outputs={"one": 1})
    assert found.status == "failed"
    assert found.error_type.endswith("MaxVisitsExceeded")
    assert found.path == ("one", "two") * 3


def test_an_unknown_type_stops_its_branch(
    register: Callable[..., Any], unregister: Callable[[str], object]
) -> None:
    register("tests.gone")(lambda: None)
    define("unknown", steps=[{"name": "one", "type": "tests.gone"}, echo("two")])
    unregister("tests.gone")
    found = tried("unknown", outputs={"two": 1})
    assert (of(found, "one").status, found.stopped_at) == ("failed", "one")
    assert "unknown step type 'tests.gone'" in of(found, "one").error


def test_rows_are_read() -> None:
    ada = Customer.objects.create(name="Ada", email="ada@example.com")
    order = Order.objects.create(customer=ada, number="A1")
    define("rows", input={"order": "testapp.Order"}, steps=[echo("one", "{{ order.customer.name }}")])
    found = tried("rows", {"order": order.pk}, outputs={"one": order})
    assert of(found, "one").params == {"value": "Ada"}
    assert found.output == {"$model": "testapp.order", "pk": order.pk}


def test_data_from_outside_is_no_reference() -> None:
    define("rows", steps=[echo("one")])
    posing = {"$model": "testapp.order", "pk": 1}
    assert tried("rows", outputs={"one": posing}).output == {"$dict": posing}


REPLAYED: list[list[dict[str, Any]]] = [
    [echo("one", 1), echo("two", "{{ steps.one }}"), set_state("put", n="{{ steps.two }}")],
    [
        {"name": "leap", "type": "tests.goto", "with": {"to": "last", "output": 5}},
        echo("between"),
        echo("last", "{{ steps.leap }}"),
    ],
    [
        {"name": "bad", "type": "tests.fail", "on_error": {"Exception": "met"}},
        echo("met", "{{ error.message }}", needs="jump"),
    ],
    [echo("each", "{{ item }}", for_each="names"), echo("all", "{{ steps.each }}")],
    [echo("a", needs=[]), echo("b", needs=[]), echo("c", needs=["a", "b"], join="any"), echo("d")],
    [
        {"name": "bad", "type": "tests.fail", "on_error": "continue"},
        echo("told", "{{ errors.bad.message }}"),
        {"name": "no", "type": "flow.fail", "with": {"message": "{{ steps.told }}"}},
    ],
    [{"name": "over", "type": "tests.end"}, echo("never"), echo("nor_this")],
    [{"name": "wrote", "type": "tests.write"}, echo("read", "{{ total }}")],
    [
        {"name": "count", "type": "tests.count"},
        {"type": "flow.branch", "with": {"if": "n < 3", "then": "count"}},
    ],
]


@pytest.mark.parametrize("steps", REPLAYED)
def test_a_dry_run_like_a_run_goes_its_way(steps: list[dict[str, Any]], register: Callable[..., Any]) -> None:
    register("tests.end")(lambda: End("early"))
    register("tests.write")(lambda context: context.state.update(total=4))
    register("tests.count")(lambda context: context.state.update(n=context.visit))
    define("like", steps=steps)
    run = trigger("like", {"names": ["x", "y"]}, key="k")
    run.refresh_from_db()
    found = tried("like", like=("like", "k"))
    rows = run.step_runs.filter(index=-1).order_by("number")
    ended = [row.step for row in rows if row.status in ("done", "failed")]
    assert (list(found.path), found.status) == (ended, run.status)
    assert (found.state, found.output, found.error) == (run.state, run.output, run.error)


def test_outputs_come_before_those_of_the_run_it_is_like() -> None:
    define("like", steps=[echo("one", 1), echo("two", "{{ steps.one }}")])
    run = trigger("like", {"a": 1})
    define("like", steps=[echo("one", 1), echo("two", "{{ steps.one }}"), echo("new", "{{ a }}")])
    found = tried("like", like=run, outputs={"one": 9})
    assert of(found, "two").params == {"value": 9}
    assert found.stopped_at == "new"
    assert of(found, "new").params == {"value": 1}


def test_what_the_definition_got_wrong_then_is_tried_anew() -> None:
    define("like", steps=[echo("one", "{{ nobody }}")])
    run = trigger("like", {"a": 1})
    define("like", steps=[echo("one", "{{ a }}")])
    assert tried("like", like=run).stopped_at == "one"


@pytest.mark.parametrize(
    ("name", "outputs", "error", "text"),
    [
        ("nobody", {}, exceptions.WorkflowNotFound, "nobody"),
        ("known", {"ome": 1}, exceptions.ParamsError, "did you mean 'one'"),
        ("draft", {}, exceptions.WorkflowNotFound, "never published"),
        ("off", {}, exceptions.WorkflowNotFound, "never published"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    name: str, outputs: dict[str, Any], error: type[Exception], text: str
) -> None:
    define("known", steps=[echo("one")])
    Workflow.objects.create(name="draft")
    Workflow.objects.create(name="off", enabled=False)
    with pytest.raises(error, match=text):
        dry_run(name, outputs=outputs)


def test_what_is_odd_is_told() -> None:
    define("odd", steps=[set_state("put", n=1)])
    Workflow.objects.update(enabled=False)
    off, unused = tried("odd", outputs={"put": 1}).problems
    assert "switched off" in off
    assert "'put' is not used" in unused


def test_the_command_shows_a_line_for_each_step(manage: Manage, tmp_path: Path) -> None:
    steps = [
        echo("one", "{{ who }}"),
        echo("two", **{"if": "who == 'bob'"}),
        {"name": "nap", "type": "flow.sleep", "with": {"for": "2d"}},
    ]
    define("shown", steps=steps)
    file = tmp_path / "outputs.json"
    file.write_text('{"one": 1}')
    asked = ["shown", "--dry-run", "--input", '{"who": "ada"}']
    done = manage("trigger_workflow", *asked, "--outputs", file)
    one, two, nap, end = done.out.splitlines()
    assert one.split() == ["one", "tests.echo", '{"value":', '"ada"};', "→", "1"]
    assert "skipped: if who == 'bob' is false" in two
    assert "would wait 2 days" in nap
    assert (end, done.code) == ("would end as done", 0)
    stopped = manage("trigger_workflow", *asked)
    assert stopped.code == 1
    assert "stopped at one: its output is needed" in stopped.err
    assert '(params: {"value": "ada"})' in stopped.err
    assert not Run.objects.exists()


def test_the_command_shows_the_first_items_and_those_that_fail(manage: Manage) -> None:
    step = {**set_state("each", n="{{ item.n }}"), "for_each": "names", "on_error": "continue"}
    define("items", steps=[step])
    names: list[dict[str, int]] = [{"n": 1}] * 10
    done = manage(
        "trigger_workflow", "items", "--dry-run", "--input", json.dumps({"names": [*names, {}, *names]})
    )
    shown = [line.split()[0] for line in done.out.splitlines()]
    assert shown == [*(f"each[{index}]" for index in range(5)), "each[10]", "each:", "each", "would"]
    assert "15 more items" in done.out


def test_the_command_says_how_a_run_would_fail(manage: Manage) -> None:
    define("bad", steps=[{"name": "no", "type": "flow.fail", "with": {"message": "why"}}])
    done = manage("trigger_workflow", "bad", "--dry-run")
    assert done.code == 1
    assert "would end as failed at no: django_workflow.exceptions.Failed: why" in done.err


def test_the_command_takes_a_run_and_prints_json(manage: Manage) -> None:
    define("like", steps=[echo("one", "{{ a }}")])
    run = trigger("like", {"a": 7}, key="k")
    for name in (run.pk, "k"):
        done = manage("trigger_workflow", "like", "--dry-run", "--like", name, "--json")
        assert done.code == 0
        shown = json.loads(done.out)
        assert (shown["status"], shown["output"], shown["path"]) == ("done", 7, ["one"])
        assert shown["steps"][0]["params"] == {"value": 7}
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nobody", "--dry-run"], "no workflow named 'nobody'"),
        (["known", "--dry-run", "--outputs", "/nowhere"], "outputs file cannot be read"),
        (["known", "--dry-run", "--outputs", "BROKEN"], "outputs file is no JSON"),
        (["known", "--dry-run", "--outputs", "LIST"], "outputs file is no JSON object"),
        (["known", "--dry-run", "--outputs", "MISSPELT"], "did you mean 'one'?"),
        (["known", "--dry-run", "--like", "nobody"], "no run"),
        (["known", "--dry-run", "--wait"], "--wait works not with --dry-run"),
        (["known", "--dry-run", "--key", "k"], "--key works not with --dry-run"),
        (["known", "--like", "k"], "--like works only with --dry-run"),
        (["known", "--outputs", "LIST"], "--outputs works only with --dry-run"),
    ],
)
def test_bad_usage_exits_2(manage: Manage, tmp_path: Path, arguments: list[str], text: str) -> None:
    define("known", steps=[echo("one")])
    contents = {"BROKEN": "{", "LIST": "[]", "MISSPELT": '{"ome": 1}'}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    done = manage("trigger_workflow", *(tmp_path / each if each in contents else each for each in arguments))
    assert done.code == 2
    assert text in done.err
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "for no time"), (1, "1 second"), (172800, "2 days"), (90061, "1 day 1 hour 1 minute 1 second")],
)
def test_a_wait_is_said_in_words(seconds: int, text: str) -> None:
    assert describe_sleep(timedelta(seconds=seconds)) == f"would wait {text}"
