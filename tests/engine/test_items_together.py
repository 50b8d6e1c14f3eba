"""Items of one ``for_each`` that are claimed and recorded together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow import End, Sleep, define, pause_run, process, resume_run, trigger
from django_workflow.engine import rounds, sharing
from django_workflow.engine.claim import Claim
from django_workflow.engine.execute import follow, work
from django_workflow.models import Run, StepRun
from django_workflow.registry import get_handler
from tests.support.batches import (
    ON_POSTGRES,
    claim_batch,
    committed_together,
    ready,
    statuses,
)
from tests.support.crashes import take_up
from tests.support.runs import fresh, in_threads, step_run, step_runs

pytestmark = [pytest.mark.usefixtures("patience"), pytest.mark.django_db(transaction=True)]
Spoil = Callable[[Any], Any]
EACH: dict[str, Any] = {"name": "each", "type": "tests.item", "for_each": "many"}
LAST = {"name": "last", "type": "tests.echo", "with": {"value": "{{ steps.each }}"}}


@pytest.fixture
def items(register: Callable[..., Any]) -> Callable[..., Counter[int]]:
    """Return what registers the step of the items, known as fast; the counts are of calls, by index."""

    def prepare(spoil: Spoil = lambda context: context.item, **fields: Any) -> Counter[int]:
        calls: Counter[int] = Counter()

        @register("tests.item", **{"idempotent": True, **fields})
        def item(context: Any) -> Any:
            calls[context.index] += 1
            return spoil(context)

        sharing.note_call(get_handler("tests.item"), 0.0)
        return calls

    return prepare


def spread(count: int, values: Sequence[Any] = (), **fields: Any) -> Run:
    """Return a run whose items, ``values`` or numbers, are ready and held by nobody."""
    [run] = ready([{**EACH, **fields}, LAST], 1)
    Run.objects.update(state={"many": list(values or range(count))})
    follow(claim_batch(), keep=lambda: False)
    return fresh(run)


def rows(run: Run) -> list[StepRun]:
    return list(step_runs(run).filter(index__gte=0, current=True).order_by("index"))


def give_up(held: Any) -> None:
    """Let what is claimed be as it was before."""
    held.update(status="pending", lease_token=None, lease_until=None, due_at=timezone.now())


def places(claims: Sequence[Claim]) -> list[int]:
    return sorted(claim.step_run.index for claim in claims)


def demand_done(run: Run, count: int, calls: Counter[int]) -> None:
    """Demand that each item was called and recorded once, and the step after them as well."""
    run = fresh(run)
    assert (run.status, run.output, run.error) == ("done", list(range(count)), "")
    assert calls == Counter(range(count))
    assert [row.status for row in rows(run)] == ["done"] * count
    assert step_runs(run).filter(step="last").count() == 1
    numbers = list(step_runs(run).filter(index__gte=0).values_list("number", flat=True))
    assert len(set(numbers)) == count
    assert max(numbers) == step_run(run, "each", index=-1).number <= run.revision


def test_rule_5_items_are_called_and_recorded_once_each_in_few_statements(items) -> None:
    calls = items()
    run = spread(120)
    with CaptureQueriesContext(connection) as captured:
        work("default")
    demand_done(run, 120, calls)
    # Claimed and recorded in three parts: a transaction each, and a few reads.
    assert len(captured) < 120, len(captured)


@ON_POSTGRES
def test_rule_5_items_share_one_transaction(items) -> None:
    items()
    run = spread(70)
    work("default")
    assert sorted(map(len, committed_together(rows(run)))) == [20, 50]


def test_rule_9_a_claim_takes_fifty_at_most_and_leaves_the_others_to_others(items) -> None:
    items()
    run = spread(120)
    mine, theirs = claim_batch(), claim_batch()
    assert (places(mine), places(theirs)) == (list(range(50)), list(range(50, 100)))
    assert {claim.step_run.solo for claim in [*mine, *theirs]} == {False}
    assert len({claim.token for claim in mine} | {claim.token for claim in theirs}) == 2
    follow(theirs)
    follow(mine)
    work("default")
    demand_done(run, 120, Counter(range(120)))


def test_rule_9_items_of_a_type_that_is_not_known_yet_are_claimed_alone_first(items) -> None:
    calls = items()
    run = spread(20)
    process.forget()
    assert len(claim_batch()) == 1
    give_up(step_runs(run).filter(status="running"))
    work("default")
    demand_done(run, 20, calls)


@pytest.mark.parametrize("fields", [{"idempotent": False}, {"idempotent": False, "atomic": True}])
def test_rule_9_items_that_may_not_be_called_twice_are_claimed_alone(items, fields) -> None:
    calls = items(**fields)
    run = spread(5)
    claims = claim_batch()
    assert (len(claims), claims[0].step_run.solo) == (1, True)
    follow(claims)
    work("default")
    demand_done(run, 5, calls)


def test_rule_9_slow_items_are_claimed_alone(items, monkeypatch) -> None:
    calls = items()
    run = spread(5)
    monkeypatch.setattr(sharing, "FAST", 0.0)
    assert len(claim_batch()) == 1
    give_up(step_runs(run).filter(status="running"))
    work("default")
    demand_done(run, 5, calls)


def test_rule_9_what_turns_out_slow_is_given_back(items, monkeypatch) -> None:
    monkeypatch.setattr(rounds, "LONGEST", -1.0)
    monkeypatch.setattr(rounds, "LONGEST_ON_SQLITE", -1.0)
    calls = items(lambda context: monkeypatch.setattr(sharing, "FAST", 0.0))
    run = spread(6)
    follow(claim_batch())
    assert [row.status for row in rows(run)] == ["done", *["pending"] * 5]
    assert {(row.crashes, row.lease_token) for row in rows(run)} == {(0, None)}
    assert calls == Counter([0])


def test_rule_11_a_round_closes_when_its_handlers_took_long(items, monkeypatch) -> None:
    monkeypatch.setattr(rounds, "LONGEST", -1.0)
    monkeypatch.setattr(rounds, "LONGEST_ON_SQLITE", -1.0)
    calls = items()
    run = spread(6)
    work("default")
    demand_done(run, 6, calls)


def test_rule_10_the_crash_of_a_worker_with_several_items_counts_against_none(items) -> None:
    calls = items()
    run = spread(6)
    assert len(claim_batch()) == 6
    StepRun.objects.filter(status="running").update(due_at=timezone.now() - timedelta(minutes=1))
    assert take_up() == 6
    demand_done(run, 6, calls)
    assert {(row.crashes, row.attempt) for row in rows(run)} == {(0, 1)}


def test_rule_10_after_a_crash_together_each_item_is_claimed_alone(items) -> None:
    items()
    run = spread(6)
    StepRun.objects.filter(index__in=(1, 2)).update(solo=True)
    first = claim_batch()
    assert places(first) == [0, 3, 4, 5]
    assert [places(claim_batch()), places(claim_batch()), places(claim_batch())] == [[1], [2], []]
    assert step_runs(run).filter(solo=True).count() == 2


@pytest.mark.parametrize("failing", [0, 3, 5])
def test_an_item_that_is_to_be_tried_again_costs_the_others_nothing(items, failing) -> None:
    def spoil(context: Any) -> int:
        if context.index == failing and context.attempt == 1:
            raise ValueError("once")
        return int(context.item)

    calls = items(spoil)
    run = spread(6, retry={"attempts": 2, "delay": 0})
    work("default")
    calls[failing] -= 1
    assert (fresh(run).status, fresh(run).output, calls) == ("done", list(range(6)), Counter(range(6)))
    assert [row.attempt for row in rows(run)] == [1 + (place == failing) for place in range(6)]


@pytest.mark.parametrize("failing", [0, 3, 5])
def test_rule_16_after_a_failure_for_all_no_other_item_begins(items, failing) -> None:
    def spoil(context: Any) -> int:
        if context.index == failing:
            raise ValueError("for good")
        return int(context.item)

    calls = items(spoil)
    run = spread(6)
    work("default")
    assert (fresh(run).status, calls) == ("failed", Counter(range(failing + 1)))
    expected = ["done"] * failing + ["failed"] + ["cancelled"] * (5 - failing)
    assert [row.status for row in rows(run)] == expected
    assert f"item {failing}" in fresh(run).error


def test_rule_16_continue_is_for_each_item(items) -> None:
    def spoil(context: Any) -> int:
        if context.index % 2:
            raise ValueError("odd")
        return int(context.item)

    calls = items(spoil)
    run = spread(6, on_error="continue")
    work("default")
    assert (fresh(run).status, fresh(run).output) == ("done", [0, None, 2, None, 4, None])
    assert calls == Counter(range(6))


def test_state_that_items_write_is_there_for_the_next(items) -> None:
    def spoil(context: Any) -> int:
        context.state["sum"] = context.state.get("sum", 0) + context.item
        return int(context.item)

    calls = items(spoil)
    run = spread(10)
    work("default")
    demand_done(run, 10, calls)
    assert fresh(run).state["sum"] == sum(range(10))


def test_items_that_wait_or_end_the_run_are_recorded_alone(items) -> None:
    def spoil(context: Any) -> Any:
        if context.index == 1 and context.event is None:
            return Sleep(timedelta(hours=1))
        return End("over") if context.index == 4 else context.item

    items(spoil)
    run = spread(8)
    work("default")
    assert (fresh(run).status, fresh(run).output) == ("done", "over")
    found = [row.status for row in rows(run)]
    assert found[:5] == ["done", "cancelled", "done", "done", "done"]
    assert statuses([run]) == {"done": 1}


@pytest.mark.parametrize("most", [1, 3, 7])
def test_slots_that_come_free_together_are_taken_by_index(items, most) -> None:
    seen: list[int] = []
    calls = items(lambda context: seen.append(context.index) or context.item)
    run = spread(20, max_parallel=most)
    claims = claim_batch()
    assert places(claims) == list(range(most))
    follow(claims)
    live = step_runs(run).live().filter(index__gte=0)
    assert list(live.exclude(waiting_for="slot").order_by("index").values_list("index", flat=True)) == list(
        range(most, min(2 * most, 20))
    )
    work("default")
    demand_done(run, 20, calls)
    assert seen == list(range(20))


def test_rule_13_what_follows_items_that_were_under_way_at_a_pause_waits_for_resume(items) -> None:
    calls = items()
    run = spread(8, max_parallel=4)
    claims = claim_batch()
    pause_run(run)
    follow(claims)
    assert [(row.status, row.due_at) for row in rows(run)[4:]] == [("pending", None)] * 4
    assert fresh(run).status == "paused"
    work("default")
    assert sum(calls.values()) == 4
    resume_run(run)
    work("default")
    demand_done(run, 8, calls)


def test_rule_1_a_claim_that_was_lost_writes_nothing_and_the_others_are_recorded(items) -> None:
    calls = items()
    run = spread(6)
    claims = claim_batch()
    give_up(step_runs(run).filter(index=2))
    follow(claims)
    assert [row.status for row in rows(run)] == ["done", "done", "pending", "done", "done", "done"]
    work("default")
    calls[2] -= 1
    demand_done(run, 6, calls)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_rule_12_results_of_a_run_that_is_ending_are_history(items, when) -> None:
    run = Run()

    def end(context: Any) -> int:
        if when == "meanwhile" and context.index == 2:
            in_threads(cancel)
        return int(context.item)

    def cancel() -> None:
        # As a step of another branch does that fails for good.
        stopped = Run.objects.get(pk=run.pk)
        stopped.ending, stopped.revision = "failed", stopped.revision + 1
        stopped.save()

    calls = items(end)
    run = spread(6)
    claims = claim_batch()
    if when == "before":
        cancel()
    follow(claims)
    assert [row.status for row in rows(run)] == ["done"] * 6
    assert calls == Counter(range(6))
    assert not step_runs(run).filter(step="last").exists()
    assert fresh(run).status == "failed"


def test_what_the_database_refuses_of_one_item_is_that_items_failure(items, monkeypatch) -> None:
    calls = items()
    run = spread(6, on_error="continue")
    claims = claim_batch()
    with connection.execute_wrapper(_refusing("too much")):
        monkeypatch.setattr(claims[3].step_run, "item", "too much")
        follow(claims)
    work("default")
    assert [row.status for row in rows(run)] == ["done", "done", "done", "failed", "done", "done"]
    assert (fresh(run).status, calls) == ("done", Counter(range(6)))


def _refusing(text: str) -> Callable[..., Any]:
    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE" in sql and text in str(params):
            raise DataError("this cannot be stored")
        return execute(sql, params, many, context)

    return refuse


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_items_of_one_run_and_join_once(items, workers) -> None:
    calls = items()
    run = spread(300)

    def go_on() -> None:
        while not fresh(run).is_final:
            work("default")

    in_threads(*[go_on] * workers)
    demand_done(run, 300, calls)


def test_inline_items_are_recorded_together_too(items) -> None:
    calls = items()
    define("inline", steps=[EACH, LAST])
    with CaptureQueriesContext(connection) as captured:
        run = trigger("inline", {"many": list(range(60))})
    demand_done(run, 60, calls)
    assert len(captured) < 90, len(captured)


CALLS: dict[str, Any] = {"name": "each", "type": "flow.call", "for_each": "many"}


@pytest.fixture
def child() -> None:
    sharing.note_call(get_handler("flow.call"), 0.0)
    define("child", steps=[{"name": "echo", "type": "tests.echo", "with": {"value": "{{ value }}"}}])


def calling(count: int, **params: Any) -> Run:
    """Return a run that calls a workflow for each item, before anything of that."""
    given = {"workflow": "child", "input": {"value": "{{ item }}"}, **params}
    return spread(count, **{**CALLS, "with": given})


def test_called_runs_are_started_and_taken_back_together(child) -> None:
    run = calling(40)
    with CaptureQueriesContext(connection) as captured:
        follow(claim_batch())
    assert Run.objects.filter(workflow__name="child", parent__run=run, depth=1).count() == 40
    assert {row.waiting_for for row in rows(run)} == {"child"}
    assert {row.pk: row.child_id for row in rows(run)} == dict(
        Run.objects.filter(workflow__name="child").values_list("parent", "pk")
    )
    assert len(captured) < 40, len(captured)
    work("default")
    assert (fresh(run).status, fresh(run).output) == ("done", list(range(40)))
    numbers = [row.number for row in rows(run)]
    assert len(set(numbers)) == 40


@ON_POSTGRES
def test_called_runs_and_the_steps_that_wait_for_them_are_one_commit(child) -> None:
    run = calling(10)
    follow(claim_batch())
    assert [len(group) for group in committed_together(rows(run))] == [10]


def test_called_runs_that_a_key_names_are_found_by_all(child) -> None:
    run = calling(10, key="k{{ item|divisibleby:2 }}")
    work("default")
    assert fresh(run).status == "done"
    assert Run.objects.filter(workflow__name="child").count() == 2
    assert len({row.child_id for row in rows(run)}) == 2


def test_calls_that_nobody_waits_for_give_their_ids(child) -> None:
    run = calling(10, wait=False)
    work("default")
    output = fresh(run).output
    assert (fresh(run).status, set(output)) == (
        "done",
        {str(pk) for pk in Run.objects.filter(workflow__name="child").values_list("pk", flat=True)},
    )


def test_a_call_that_cannot_be_made_fails_alone(child) -> None:
    define("strict", steps=[{"type": "tests.echo", "with": {"value": 1}}], input={"value": "int"})
    given = {"workflow": "strict", "input": {"value": "{{ item }}"}}
    run = spread(6, **{**CALLS, "on_error": "continue", "with": given}, values=[0, 1, 2, "three", 4, 5])
    work("default")
    assert (fresh(run).status, fresh(run).output) == ("done", [1, 1, 1, None, 1, 1])
    assert "input of strict" in rows(run)[3].error
    assert Run.objects.filter(workflow__name="strict").count() == 5
