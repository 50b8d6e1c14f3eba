"""``for_each``: one call an item, outputs in item order, and what holds items back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import End, Goto, RetryAfter, Sleep, retry_run
from tests.support.runs import fresh, history, items_of, let_time_pass, notes, start, step_run, step_runs
from tests.testapp.models import Note, Order

pytestmark = pytest.mark.django_db(transaction=True)
EACH = {"name": "each", "type": "tests.echo", "for_each": "values", "with": {"value": "{{ item }}"}}
NOTED = {"name": "each", "type": "tests.work", "for_each": "values", "with": {"value": "{{ item }}"}}


def test_outputs_are_in_item_order(broken_items) -> None:
    run = start([NOTED], {"values": [3, 1, 2]})
    assert (run.status, run.output) == ("done", [30, 10, 20])
    assert items_of(run) == ["each[0]:done", "each[1]:done", "each[2]:done"]


def test_an_empty_list_gives_one_at_once(broken_items) -> None:
    run = start([NOTED, {"type": "tests.note"}], {"values": []})
    assert (run.status, step_run(run, "each").output, notes()) == ("done", [], ["tests_note"])


def test_item_and_index_are_there_in_expressions_and_in_the_context(register) -> None:
    @register("tests.see")
    def see(context, value: str) -> list[object]:
        return [value, context.item, context.index]

    run = start(
        [{**EACH, "type": "tests.see", "with": {"value": "{{ index }}: {{ item.name }}"}}],
        {"values": [{"name": "a"}, {"name": "b"}]},
    )
    assert run.output == [["0: a", {"name": "a"}, 0], ["1: b", {"name": "b"}, 1]]


def test_each_item_has_an_idempotency_key_of_its_own_that_attempts_share(register) -> None:
    keys = []

    @register("tests.see")
    def see(context) -> None:
        keys.append(context.idempotency_key)
        if context.attempt == 1:
            raise ValueError

    start(
        [{**EACH, "type": "tests.see", "with": {}, "retry": {"attempts": 2, "delay": 0}}], {"values": [1, 2]}
    )
    assert len(keys) == 4
    assert len(set(keys)) == 2


def test_a_list_may_come_from_an_earlier_step_and_hold_rows() -> None:
    order = Order.objects.create(number="A1")
    steps = [
        {"name": "find", "type": "tests.echo", "with": {"value": ["{{ order }}"]}},
        {**EACH, "for_each": "steps.find", "with": {"value": "{{ item.number }}"}},
    ]
    assert start(steps, {"order": order}).output == ["A1"]


def test_a_condition_is_asked_once_before_the_list() -> None:
    run = start([{**EACH, "if": "False"}, {"type": "tests.echo"}], {"values": "no list"})
    assert history(run) == ["each:skipped", "tests_echo:done"]


def test_items_write_state_by_key(register) -> None:
    @register("tests.write")
    def write(context) -> None:
        context.state[f"item{context.index}"] = context.item

    assert start([{**EACH, "type": "tests.write", "with": {}}], {"values": ["a", "b"]}).state == {
        "values": ["a", "b"],
        "item0": "a",
        "item1": "b",
    }


@pytest.mark.parametrize("values", ["text", 5, {"a": 1}, None])
def test_what_is_no_list_fails_with_what_it_is(values) -> None:
    run = start([EACH], {"values": values})
    assert run.status == "failed"
    assert "step 'each', for_each" in run.error
    assert "list is needed" in run.error


def test_more_than_ten_thousand_items_are_refused() -> None:
    run = start([EACH], {"values": [0] * 10_001})
    assert run.status == "failed"
    assert "10,001 items" in run.error
    assert "10,000" in run.error
    assert items_of(run) == []


def test_max_parallel_holds_back_the_others(register) -> None:
    seen = []

    @register("tests.nap")
    def nap(context) -> Sleep | None:
        seen.append(context.index)
        return Sleep(timedelta(hours=1)) if context.event is None else None

    run = start([{**EACH, "type": "tests.nap", "with": {}, "max_parallel": 2}], {"values": list("abcde")})
    waits = list(step_runs(run).filter(index__gte=0).order_by("index").values_list("waiting_for", flat=True))
    assert waits == ["timer", "timer", "slot", "slot", "slot"]
    assert (run.status, seen) == ("waiting", [0, 1])
    for _ in range(3):
        run = let_time_pass(run)
        started = step_runs(run).live().filter(index__gte=0).exclude(waiting_for="slot")
        assert started.count() <= 2
    assert run.status == "done"
    assert sorted(seen) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_an_item_that_sleeps_or_asks_for_time_is_one_of_many(register) -> None:
    @register("tests.odd")
    def odd(context) -> object:
        if context.item == "nap" and context.event is None:
            return Sleep(timedelta(hours=1))
        if context.item == "busy" and not Note.objects.exists():
            Note.objects.create(text="asked")
            raise RetryAfter(3600)
        return context.item

    run = start([{**EACH, "type": "tests.odd", "with": {}}], {"values": ["nap", "busy", "quick"]})
    assert run.status == "waiting"
    run = let_time_pass(run)
    assert (run.status, run.output) == ("done", ["nap", "busy", "quick"])


def test_next_acts_once_for_the_whole_step() -> None:
    steps = [
        {**EACH, "next": "last"},
        {"name": "passed", "type": "tests.fail"},
        {"name": "last", "type": "tests.note"},
    ]
    run = start(steps, {"values": [1, 2, 3]})
    assert (run.status, notes()) == ("done", ["last"])


@pytest.mark.parametrize("outcome", [Goto("other"), Goto("each")])
def test_a_jump_from_an_item_is_an_error(register, outcome) -> None:
    @register("tests.jump")
    def jump() -> Goto:
        return outcome

    run = start(
        [{**EACH, "type": "tests.jump", "with": {}}, {"name": "other", "type": "tests.note"}], {"values": [1]}
    )
    assert run.status == "failed"
    assert "Goto from an item" in run.error
    assert notes() == []


def test_a_next_step_is_known_to_publishing_and_an_end_from_an_item_ends_the_run(register) -> None:
    @register("tests.end")
    def end(context) -> End | None:
        return End("over") if context.item == 2 else None

    run = start([{**EACH, "type": "tests.end", "with": {}}, {"type": "tests.note"}], {"values": [1, 2, 3]})
    assert (fresh(run).status, run.output, notes()) == ("done", "over", [])
    assert step_runs(run).live().count() == 0


def test_a_loop_visits_all_items_anew(register) -> None:
    @register("tests.again")
    def again(context) -> Goto | None:
        context.state["values"] = [*context.state["values"], "more"]
        return Goto("each") if len(context.state["values"]) < 4 else None

    run = start([EACH, {"type": "tests.again"}], {"values": ["a", "b"]})
    assert run.status == "done"
    assert step_run(run, "each", index=-1, visit=2).output == ["a", "b", "more"]
    assert step_runs(run).filter(step="each", index__gte=0, current=True).count() == 3


LARGE = [{**EACH, "with": {"value": "{{ text }}"}}]


def test_the_outputs_of_items_are_one_output_that_has_to_be_held(settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 5000}
    run = start(LARGE, {"values": [1, 2, 3], "text": "x" * 2000})
    row = step_run(run, "each", index=-1)
    assert (run.status, row.error_type.rpartition(".")[2], row.output) == ("failed", "TooLarge", None)
    assert row.error == (
        "the outputs of all 3 items, as one list: 6010 bytes as JSON, and the limit is 5000: store less, or "
        'raise DJANGO_WORKFLOW["MAX_BYTES"]'
    )
    assert items_of(run) == ["each[0]:done", "each[1]:done", "each[2]:done"]

    assert retry_run(run).status == "failed"
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 7000}
    run = retry_run(run)
    assert (run.status, [len(text) for text in run.output]) == ("done", [2000, 2000, 2000])
    assert items_of(run) == ["each[0]:done", "each[1]:done", "each[2]:done"]


def test_a_step_that_goes_on_without_its_output_does_so_where_its_list_is_too_large(settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 5000}
    run = start([{**LARGE[0], "on_error": "continue"}], {"values": [1, 2, 3], "text": "x" * 2000})
    assert (run.status, run.output) == ("done", None)


def test_the_run_says_which_step_while_items_wait() -> None:
    run = start(
        [{"name": "each", "type": "flow.sleep", "for_each": "values", "with": {"for": "1h"}}],
        {"values": [1, 2]},
    )
    assert (run.status, run.step) == ("waiting", "each")
    assert step_run(run, "each", index=-1).waiting_for == "items"
    assert let_time_pass(run).status == "done"
