"""``for_each``: one call an item, outputs in item order, and failures that act as they should."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import End, Goto, RetryAfter, Sleep, retry_run
from tests.testapp.models import Note, Order

from .runs import fresh, history, let_time_pass, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)
EACH = {"name": "each", "type": "tests.echo", "for_each": "values", "with": {"value": "{{ item }}"}}
FAILING = {"name": "each", "type": "tests.work", "for_each": "values", "with": {"value": "{{ item }}"}}


@pytest.fixture
def broken(register) -> set[int]:
    """Return the values at which the handler fails; it notes each call."""
    values: set[int] = set()

    @register("tests.work")
    def work(value: int) -> int:
        Note.objects.create(text=str(value))
        if value in values:
            raise ValueError(f"no {value}")
        return value * 10

    return values


def calls() -> list[str]:
    return [note.text for note in Note.objects.order_by("pk")]


def items(run, **fields) -> list[str]:
    return [f"{row}:{row.status}" for row in step_runs(run).filter(index__gte=0, **fields).order_by("index", "attempt")]


def test_outputs_are_in_item_order(broken) -> None:
    run = start([FAILING], {"values": [3, 1, 2]})
    assert (run.status, run.output) == ("done", [30, 10, 20])
    assert items(run) == ["each[0]:done", "each[1]:done", "each[2]:done"]


def test_an_empty_list_gives_one_at_once(broken) -> None:
    run = start([FAILING, {"type": "tests.note"}], {"values": []})
    assert (run.status, step_run(run, "each").output, calls()) == ("done", [], ["tests_note"])


def test_item_and_index_are_there_in_expressions_and_in_the_context(register) -> None:
    @register("tests.see")
    def see(context, value: str) -> list[object]:
        return [value, context.item, context.index]

    run = start([{**EACH, "type": "tests.see", "with": {"value": "{{ index }}: {{ item.name }}"}}], {"values": [{"name": "a"}, {"name": "b"}]})
    assert run.output == [["0: a", {"name": "a"}, 0], ["1: b", {"name": "b"}, 1]]


def test_each_item_has_an_idempotency_key_of_its_own_that_attempts_share(register) -> None:
    keys = []

    @register("tests.see")
    def see(context) -> None:
        keys.append(context.idempotency_key)
        if context.attempt == 1:
            raise ValueError

    start([{**EACH, "type": "tests.see", "with": {}, "retry": {"attempts": 2, "delay": 0}}], {"values": [1, 2]})
    assert len(keys) == 4
    assert len(set(keys)) == 2


def test_a_list_may_come_from_an_earlier_step_and_hold_rows() -> None:
    order = Order.objects.create(number="A1")
    steps = [{"name": "find", "type": "tests.echo", "with": {"value": ["{{ order }}"]}}, {**EACH, "for_each": "steps.find", "with": {"value": "{{ item.number }}"}}]
    assert start(steps, {"order": order}).output == ["A1"]


def test_a_condition_is_asked_once_before_the_list() -> None:
    run = start([{**EACH, "if": "False"}, {"type": "tests.echo"}], {"values": "no list"})
    assert history(run) == ["each:skipped", "tests_echo:done"]


def test_items_write_state_by_key(register) -> None:
    @register("tests.write")
    def write(context) -> None:
        context.state[f"item{context.index}"] = context.item

    assert start([{**EACH, "type": "tests.write", "with": {}}], {"values": ["a", "b"]}).state == {"values": ["a", "b"], "item0": "a", "item1": "b"}


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
    assert items(run) == []


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


def test_attempts_are_per_item(broken) -> None:
    broken.add(2)
    run = start([{**FAILING, "retry": {"attempts": 3, "delay": 0}, "on_error": "continue"}], {"values": [1, 2, 3]})
    assert run.output == [10, None, 30]
    assert calls().count("2") == 3
    assert calls().count("1") == calls().count("3") == 1


def test_continue_is_per_item_and_keeps_each_error(broken) -> None:
    broken |= {1, 3}
    run = start([{**FAILING, "on_error": "continue"}, {"type": "tests.echo", "with": {"value": "{{ errors.each }}"}}], {"values": [1, 2, 3]})
    assert (run.status, step_run(run, "each", index=-1).output) == ("done", [None, 20, None])
    assert run.output == [
        {"index": 0, "type": "ValueError", "message": "no 1"},
        {"index": 2, "type": "ValueError", "message": "no 3"},
    ]


def test_fail_acts_once_and_cancels_the_items_not_begun(broken) -> None:
    broken.add(2)
    run = start([FAILING], {"values": [1, 2, 3, 4]})
    assert (run.status, run.error_type, run.error) == ("failed", "ValueError", "item 1: no 2")
    assert items(run) == ["each[0]:done", "each[1]:failed", "each[2]:cancelled", "each[3]:cancelled"]
    assert step_run(run, "each", index=-1).status == "failed"
    assert calls() == ["1", "2"]


def test_a_step_name_acts_once_for_the_whole_step(broken) -> None:
    broken |= {1, 2}
    steps = [{**FAILING, "on_error": "rescue"}, {"name": "passed", "type": "tests.fail"}, {"name": "rescue", "type": "tests.echo", "needs": "jump", "with": {"value": "{{ error.step }}: {{ error.message }}"}}]
    run = start(steps, {"values": [1, 2]})
    assert (run.status, run.output) == ("done", "each: item 0: no 1")
    assert step_runs(run).filter(step="rescue").count() == 1


def test_an_error_is_mapped_by_its_class_for_items_too(broken) -> None:
    broken.add(2)
    assert start([{**FAILING, "on_error": {"ValueError": "continue"}}], {"values": [1, 2]}).output == [10, None]
    assert start([{**FAILING, "on_error": {"KeyError": "continue"}}], {"values": [1, 2]}).status == "failed"


def test_next_acts_once_for_the_whole_step() -> None:
    steps = [{**EACH, "next": "last"}, {"name": "passed", "type": "tests.fail"}, {"name": "last", "type": "tests.note"}]
    run = start(steps, {"values": [1, 2, 3]})
    assert (run.status, calls()) == ("done", ["last"])


def test_retry_run_runs_only_the_items_that_failed_or_never_ran(broken) -> None:
    broken.add(2)
    run = start([FAILING, {"type": "tests.echo"}], {"values": [1, 2, 3]})
    assert run.status == "failed"
    broken.clear()
    retry_run(run)
    run = fresh(run)
    assert run.status == "done"
    assert step_run(run, "each", index=-1, current=True).output == [10, 20, 30]
    assert calls() == ["1", "2", "2", "3"]
    assert items(run, current=True) == ["each[0]:done", "each[1]:done", "each[2]:done"]


def test_retry_run_that_fails_again_can_be_retried_again(broken) -> None:
    broken |= {2, 3}
    run = start([{**FAILING, "max_parallel": 1}], {"values": [1, 2, 3]})
    broken.discard(2)
    retry_run(run)
    assert fresh(run).error == "item 2: no 3"
    broken.clear()
    retry_run(run)
    assert fresh(run).output == [10, 20, 30]
    assert calls() == ["1", "2", "2", "3", "3"]


def test_retry_leaves_the_items_whose_failure_was_met(broken) -> None:
    broken.add(2)
    run = start([{**FAILING, "on_error": "continue"}, {"name": "after", "type": "tests.work", "with": {"value": 2}}], {"values": [1, 2]})
    assert run.status == "failed"
    broken.clear()
    retry_run(run)
    assert fresh(run).output == 20
    assert calls() == ["1", "2", "2", "2"]


@pytest.mark.parametrize("outcome", [Goto("other"), Goto("each")])
def test_a_jump_from_an_item_is_an_error(register, outcome) -> None:
    @register("tests.jump")
    def jump() -> Goto:
        return outcome

    run = start([{**EACH, "type": "tests.jump", "with": {}}, {"name": "other", "type": "tests.note"}], {"values": [1]})
    assert run.status == "failed"
    assert "Goto from an item" in run.error
    assert calls() == []


def test_a_next_step_is_known_to_publishing_and_an_end_from_an_item_ends_the_run(register) -> None:
    @register("tests.end")
    def end(context) -> End | None:
        return End("over") if context.item == 2 else None

    run = start([{**EACH, "type": "tests.end", "with": {}}, {"type": "tests.note"}], {"values": [1, 2, 3]})
    assert (fresh(run).status, run.output, calls()) == ("done", "over", [])
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


def test_a_size_limit_holds_for_each_item_and_not_for_all(settings) -> None:
    settings.DJANGO_WORKFLOW = {"MAX_BYTES": 5000}
    assert start([{**EACH, "with": {"value": "{{ text }}"}}], {"values": [1, 2, 3], "text": "x" * 2000}).status == "done"


def test_the_run_says_which_step_while_items_wait() -> None:
    run = start([{"name": "each", "type": "flow.sleep", "for_each": "values", "with": {"for": "1h"}}], {"values": [1, 2]})
    assert (run.status, run.step) == ("waiting", "each")
    assert step_run(run, "each", index=-1).waiting_for == "items"
    assert let_time_pass(run).status == "done"


def test_a_bad_param_of_one_item_is_that_items_failure(broken) -> None:
    run = start([{**FAILING, "on_error": "continue"}], {"values": [1, "no number"]})
    assert (run.status, run.output) == ("done", [10, None])
