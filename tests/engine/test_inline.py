"""Without a queue: what trigger() runs, in which order, and what it leaves behind."""

from __future__ import annotations

import logging

import pytest

from django_workflow import End, Goto, define, trigger, trigger_many
from django_workflow.engine import telling
from django_workflow.engine.execute import work
from django_workflow.exceptions import ParamsError, WorkflowNotFound
from django_workflow.models import Run
from tests.support.runs import (
    fresh,
    history,
    in_threads,
    let_time_pass,
    recorded,
    start,
    step_run,
    waiting_run,
)
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_goes_through_its_steps_in_order() -> None:
    run = start([{"name": name, "type": "tests.note"} for name in ("one", "two", "three")])
    assert run.status == "done"
    assert [note.text for note in Note.objects.order_by("pk")] == ["one", "two", "three"]
    assert history(run) == ["one:done", "two:done", "three:done"]


def test_trigger_returns_the_run_as_it_is_after_its_steps() -> None:
    run = start(
        [{"name": "set", "type": "flow.set", "with": {"a": 1}}, {"type": "tests.echo", "with": {"value": 2}}]
    )
    assert (run.status, run.state, run.output, run.step) == ("done", {"a": 1}, 2, "tests_echo")
    assert run.started_at is not None
    assert run.finished_at is not None


def test_a_run_keeps_its_input_apart_from_its_state() -> None:
    run = start([{"type": "flow.set", "with": {"a": 2}}], {"a": 1})
    assert (run.input, run.state) == ({"a": 1}, {"a": 2})


def test_the_output_of_a_run_is_that_of_the_last_step_in_list_order_that_is_done() -> None:
    steps = [
        {"name": "one", "type": "tests.echo", "with": {"value": 1}},
        {"name": "two", "type": "tests.echo", "with": {"value": 2}, "if": "False"},
    ]
    assert start(steps).output == 1


def test_a_false_condition_skips_the_step_and_what_needs_it_goes_on() -> None:
    steps = [{"name": "one", "type": "tests.fail", "if": "amount > 5"}, {"name": "two", "type": "tests.echo"}]
    run = start(steps, {"amount": 5})
    assert run.status == "done"
    assert history(run) == ["one:skipped", "two:done"]


def test_an_expression_reads_state_outputs_and_the_run() -> None:
    steps = [
        {"name": "one", "type": "tests.echo", "with": {"value": {"id": "{{ user.name|upper }}"}}},
        {"name": "skipped", "type": "tests.echo", "if": "False"},
        {
            "name": "two",
            "type": "tests.echo",
            "with": {"value": ["{{ steps.one.id }}", "{{ steps.skipped.id }}", "{{ run.workflow }}"]},
        },
    ]
    assert start(steps, {"user": {"name": "guest"}}).output == ["GUEST", None, "flow"]


def test_end_gives_the_output_and_starts_nothing_more(register) -> None:
    @register("tests.end")
    def end() -> End:
        return End({"early": True})

    run = start([{"name": "one", "type": "tests.end"}, {"name": "two", "type": "tests.fail"}])
    assert (run.status, run.output) == ("done", {"early": True})
    assert history(run) == ["one:done"]


def test_end_in_a_branch_cancels_what_the_others_have_not_begun() -> None:
    steps = [
        {"name": "one", "type": "flow.end", "with": {"output": "over"}, "needs": []},
        {"name": "two", "type": "tests.fail", "needs": []},
        {"name": "three", "type": "tests.fail", "needs": ["one", "two"]},
    ]
    run = start(steps)
    assert (run.status, run.output) == ("done", "over")
    assert history(run) == ["one:done", "two:cancelled"]


def test_end_cancels_a_branch_that_sleeps() -> None:
    steps = [
        {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}, "needs": []},
        {"name": "one", "type": "flow.end", "needs": []},
    ]
    run = start(steps)
    assert run.status == "done"
    assert history(run) == ["nap:cancelled", "one:done"]


def test_next_end_ends_the_run() -> None:
    run = start(
        [
            {"name": "one", "type": "tests.echo", "with": {"value": 1}, "next": "end"},
            {"name": "two", "type": "tests.fail", "needs": "jump"},
            {"name": "back", "type": "tests.goto", "with": {"to": "two"}, "if": "False", "needs": []},
        ]
    )
    assert (run.status, run.output) == ("done", 1)


def test_a_step_starts_when_all_its_needs_have_ended() -> None:
    steps = [
        {"name": "left", "type": "tests.echo", "needs": []},
        {"name": "right", "type": "tests.fail", "needs": [], "on_error": "continue"},
        {"name": "skipped", "type": "tests.echo", "needs": [], "if": "False"},
        {"name": "join", "type": "tests.note", "needs": ["left", "right", "skipped"]},
    ]
    run = start(steps)
    assert history(run) == ["left:done", "right:failed", "skipped:skipped", "join:done"]
    assert Note.objects.count() == 1


def test_join_any_starts_at_the_first_that_is_done_and_once() -> None:
    steps = [
        {"name": "failing", "type": "tests.fail", "needs": [], "on_error": "continue"},
        {"name": "skipped", "type": "tests.echo", "needs": [], "if": "False"},
        {"name": "napping", "type": "flow.sleep", "with": {"for": "1h"}, "needs": []},
        {"name": "working", "type": "tests.echo", "needs": []},
        {
            "name": "join",
            "type": "tests.note",
            "needs": ["failing", "skipped", "napping", "working"],
            "join": "any",
        },
    ]
    run = start(steps)
    assert run.status == "waiting"
    assert recorded(run) == ["working", "join"]
    run = let_time_pass(run)
    assert run.status == "done"
    assert Note.objects.count() == 1


def test_join_any_starts_when_all_have_ended_and_none_is_done() -> None:
    steps = [
        {"name": "one", "type": "tests.fail", "needs": [], "on_error": "continue"},
        {"name": "two", "type": "tests.echo", "needs": [], "if": "False"},
        {"name": "join", "type": "tests.note", "needs": ["one", "two"], "join": "any"},
    ]
    assert history(start(steps))[-1] == "join:done"


def test_a_jump_forward_skips_and_a_jump_back_loops(register) -> None:
    @register("tests.again")
    def again(context) -> Goto | None:
        context.state["count"] += 1
        return Goto("one") if context.state["count"] < 3 else Goto("last")

    steps = [
        {"name": "one", "type": "tests.echo"},
        {"name": "two", "type": "tests.again"},
        {"name": "passed", "type": "tests.fail"},
        {"name": "last", "type": "tests.echo"},
    ]
    run = start(steps, {"count": 0})
    assert run.status == "done"
    assert recorded(run) == ["one", "two", "one", "two", "one", "two", "last"]
    assert step_run(run, "passed").status == "skipped"
    assert list(run.step_runs.filter(step="two").order_by("visit").values_list("visit", "current")) == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_loop_stops_at_max_visits() -> None:
    run = start([{"name": "one", "type": "tests.goto", "with": {"to": "one"}}], max_visits=5)
    assert run.status == "failed"
    assert "'one' would begin visit 6" in run.error
    assert run.error_type.endswith("MaxVisitsExceeded")
    assert run.step_runs.count() == 5


@pytest.mark.parametrize("retry", [{"on_error": "one"}, {"on_error": "wait"}])
def test_a_loop_that_is_stopped_tells_the_error_that_it_went_round_for(retry: dict[str, str]) -> None:
    one = {"name": "one", "type": "tests.fail", "with": {"message": "no answer"}, **retry}
    wait = {"name": "wait", "type": "tests.echo", "needs": "jump", "next": "one"}
    run = start([one, wait], max_visits=3)
    assert run.error_type.endswith("MaxVisitsExceeded")
    assert "'one' would begin visit 4" in run.error
    assert "The last error: ValueError: no answer" in run.error
    last = run.step_runs.filter(step="one").latest("visit")
    assert (last.status, last.error_type, last.error) == ("failed", "ValueError", "no answer")


def test_a_thousand_steps_run() -> None:
    run = start([{"name": f"step_{number}", "type": "tests.echo"} for number in range(1000)])
    assert run.status == "done"
    assert run.step_runs.filter(status="done").count() == 1000


def test_a_trigger_inside_a_handler_runs_after_the_step_is_recorded(register) -> None:
    seen = []

    @register("tests.parent")
    def parent(context) -> None:
        child = trigger("child")
        seen.append(child.status)
        seen.append(fresh(child).status)

    @register("tests.child")
    def child(context) -> None:
        seen.append(Run.objects.get(workflow__name="flow").step_runs.get(step="tests_parent").status)

    define("child", steps=[{"type": "tests.child"}])
    run = start([{"type": "tests.parent"}])
    assert run.status == "done"
    assert seen == ["pending", "pending", "done"]
    assert Run.objects.get(workflow__name="child").status == "done"


def test_a_trigger_inside_a_handler_that_the_clock_runs_waits_for_the_record_too(register) -> None:
    seen = []

    @register("tests.parent")
    def parent(context) -> None:
        trigger("child")
        seen.append("parent returns")

    @register("tests.child")
    def child(context) -> None:
        seen.append("child runs")

    define("child", steps=[{"type": "tests.child"}])
    run = let_time_pass(waiting_run([{"type": "tests.parent"}]))
    assert run.status == "done"
    work("default")
    assert seen == ["parent returns", "child runs"]


def test_a_workflow_may_trigger_itself_deeper_than_python_recurses(register) -> None:
    @register("tests.again")
    def again(context) -> None:
        if context.state["left"]:
            trigger("flow", {"left": context.state["left"] - 1})

    start([{"type": "tests.again"}], {"left": 300})
    assert Run.objects.filter(status="done").count() == 301


def test_trigger_many_starts_each_and_keeps_their_order() -> None:
    define("flow", steps=[{"type": "tests.echo", "with": {"value": "{{ n }}"}}])
    runs = trigger_many("flow", [{"n": 3}, {"n": 1}, {"n": 2}])
    assert [run.output for run in runs] == [3, 1, 2]
    assert {run.status for run in runs} == {"done"}


def test_trigger_many_with_one_bad_input_starts_nothing() -> None:
    define("flow", steps=[{"type": "tests.note"}], input={"n": "int"})
    with pytest.raises(ParamsError):
        trigger_many("flow", [{"n": 1}, {"n": "one"}])
    assert Run.objects.count() == Note.objects.count() == 0


@pytest.mark.parametrize(("input", "problem"), [({}, "n"), ({"n": "x"}, "n"), ({"n": 1, "m": 2}, "m")])
def test_input_that_does_not_fit_is_refused(input, problem) -> None:
    define("flow", steps=[{"type": "tests.echo"}], input={"n": "int"})
    with pytest.raises(ParamsError, match=problem) as caught:
        trigger("flow", input)
    assert list(caught.value.problems) == [problem]
    assert Run.objects.count() == 0


def test_an_unknown_workflow_is_named_with_those_there_are() -> None:
    define("flow", steps=[{"type": "tests.echo"}])
    with pytest.raises(WorkflowNotFound, match=r"'flaw'.*flow"):
        trigger("flaw")


def test_each_thread_drives_its_own_runs() -> None:
    define("flow", steps=[{"type": "tests.echo", "with": {"value": "{{ n }}"}} for _ in range(3)])
    runs = in_threads(*(lambda n=n: trigger("flow", {"n": n}) for n in range(4)))
    assert [(run.status, run.output) for run in runs] == [("done", n) for n in range(4)]


@pytest.mark.parametrize(
    "step", [{"type": "tests.note", "delay": "1h"}, {"type": "flow.sleep", "with": {"for": "1h"}}]
)
def test_that_what_waits_is_left_to_the_clock_is_logged_once(monkeypatch, caplog, step) -> None:
    monkeypatch.setattr(telling, "_is_clock_told", False)
    caplog.set_level(logging.WARNING, logger="django_workflow")
    start([{"type": "tests.note"}])
    assert "workflow_clock" not in caplog.text
    waiting = start([step])
    trigger("flow")
    (record,) = [each for each in caplog.records if "workflow_clock" in each.getMessage()]
    assert str(waiting.pk) in record.getMessage()
