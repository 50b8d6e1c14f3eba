"""Rounds in which something goes wrong: the others are recorded all the same."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from django_workflow import cancel_run
from django_workflow.engine.execute import follow, work
from django_workflow.engine.sharing import may_share
from django_workflow.models import Run, StepRun
from django_workflow.registry import get_handler
from tests.support.batches import (
    ON_POSTGRES,
    claim_batch,
    ready,
    rows_of,
    statuses,
    wait_until,
)
from tests.support.runs import fresh, history, in_threads
from tests.testapp.models import Note, Order

pytestmark = [pytest.mark.usefixtures("patience"), pytest.mark.django_db(transaction=True)]
COUNT, CULPRIT = 8, 3
STEPS: list[dict[str, Any]] = [
    {"name": "one", "type": "tests.one", "with": {"place": "{{ place }}"}},
    {"name": "two", "type": "tests.two"},
]
KINDS = pytest.mark.parametrize("kind", ["idempotent", "atomic"])
Spoil = Callable[[Any, int], None]


@pytest.fixture
def spoilt(register: Callable[..., Any]) -> Callable[..., Counter[int]]:
    """Return what registers both steps; the culprit's run calls ``spoil`` with the number of its call."""

    def prepare(spoil: Spoil, kind: str = "atomic", **fields: Any) -> Counter[int]:
        calls: Counter[int] = Counter()

        @register("tests.one", **{kind: True}, **fields)
        def one(context: Any, place: int) -> int:
            calls[place] += 1
            context.state["calls"] = context.state.get("calls", 0) + 1
            if kind == "atomic":
                Note.objects.create(text=f"one {place}", key=f"{context.run_id}")
            if place == CULPRIT:
                spoil(context, calls[place])
            return place

        @register("tests.two", **{kind: True})
        def two() -> None:
            """Do nothing."""

        return calls

    return prepare


def others(runs: list[Run]) -> list[Run]:
    return [run for place, run in enumerate(runs) if place != CULPRIT]


def demand_others_done(runs: list[Run], *, notes: bool = True) -> None:
    """Demand that all but the culprit are recorded, once, at no cost, and that their rows are there once."""
    for run in others(runs):
        seen = fresh(run)
        assert (seen.status, seen.state["calls"]) == ("done", 1)
        assert history(run) == ["one:done", "two:done"]
        assert Note.objects.filter(key=str(run.pk)).count() == notes
    rows = StepRun.objects.filter(run__in=[run.pk for run in others(runs)])
    assert set(rows.values_list("attempt", "crashes")) == {(1, 0)}


def raise_error(context: Any, call: int) -> None:
    raise ValueError("spoilt")


def break_a_constraint(context: Any, call: int) -> None:
    Note.objects.create(text="again", key=str(context.run_id))


def break_a_constraint_and_hide_it(context: Any, call: int) -> None:
    try:
        with transaction.atomic(savepoint=False):
            break_a_constraint(context, call)
    except IntegrityError:
        return


def break_a_deferred_constraint(context: Any, call: int) -> None:
    Order.objects.create(number="1", customer_id=4711)


def take_too_long(context: Any, call: int) -> None:
    threading.Event().wait(20)


def close_connection(context: Any, call: int) -> None:
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "error_type"),
    [
        (raise_error, "ValueError"),
        (break_a_constraint, "IntegrityError"),
        (break_a_constraint_and_hide_it, "TransactionManagementError"),
        (break_a_deferred_constraint, "IntegrityError"),
        (take_too_long, "StepTimeout"),
        (close_connection, "Error"),
    ],
)
def test_rule_11_what_one_atomic_handler_spoils_costs_the_others_nothing(spoilt, spoil, error_type) -> None:
    calls = spoilt(spoil, timeout=0.3)
    runs = ready(STEPS, COUNT)
    # Bounded, because a round that is given back and claimed again could go on for ever.
    work("default", seconds=6)
    demand_others_done(runs)
    row = rows_of(runs, "one")[CULPRIT]
    assert (fresh(runs[CULPRIT]).status, row.status, row.attempt, row.crashes) == ("failed", "failed", 1, 0)
    assert row.error_type.endswith(error_type), row.error_type
    assert not Note.objects.filter(key=str(runs[CULPRIT].pk)).exists()
    # Once in the round, and once alone.
    assert calls[CULPRIT] == 2
    assert not may_share(get_handler("tests.one"))


def test_rule_11_a_type_that_spoilt_a_round_is_not_shared_for_a_while(spoilt, monkeypatch) -> None:
    calls = spoilt(raise_error)
    ready(STEPS, COUNT)
    work("default")
    again = ready(STEPS, COUNT)
    claims = claim_batch()
    assert len(claims) == 1
    follow(claims)
    work("default")
    demand_others_done(again)
    assert calls[CULPRIT] == 3


def test_an_idempotent_handler_that_raises_does_not_undo_what_it_shared_a_round_with(spoilt) -> None:
    calls = spoilt(raise_error, "idempotent")
    runs = ready(STEPS, COUNT)
    work("default")
    demand_others_done(runs, notes=False)
    assert (fresh(runs[CULPRIT]).status, set(calls.values())) == ("failed", {1})


@ON_POSTGRES
@pytest.mark.parametrize("state", ["40P01", "40001", "55P03"])
@pytest.mark.parametrize("count", [COUNT, CULPRIT + 1])
def test_rule_19_a_deadlock_in_an_atomic_handler_is_tried_again_at_no_cost(spoilt, state, count) -> None:
    def meet(context: Any, call: int) -> None:
        # In the round, and again when it is done alone.
        if call <= 2:
            with connection.cursor() as cursor:
                cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '{state}'; END $$")

    calls = spoilt(meet)
    runs = ready(STEPS, count)
    work("default")
    demand_others_done(runs)
    assert (fresh(runs[CULPRIT]).status, history(runs[CULPRIT])) == ("done", ["one:done", "two:done"])
    assert (rows_of(runs, "one")[CULPRIT].attempt, calls[CULPRIT]) == (1, 3)


@ON_POSTGRES
def test_rule_11_a_real_deadlock_in_a_round_is_nobodys_fault(spoilt) -> None:
    mine, theirs = (Note.objects.create(text=text) for text in ("mine", "theirs"))
    has_begun = threading.Event()

    def lock_the_other_way() -> None:
        with transaction.atomic():
            connection.cursor().execute("SET LOCAL deadlock_timeout = '30s'")
            Note.objects.filter(pk=theirs.pk).update(text="locked")
            has_begun.set()
            Note.objects.filter(pk=mine.pk).update(text="locked")

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    other = threading.Thread(target=partial(in_threads, lock_the_other_way))

    def meet(context: Any, call: int) -> None:
        if call == 1:
            connection.cursor().execute("SET LOCAL deadlock_timeout = '10ms'")
            Note.objects.filter(pk=mine.pk).update(text="locked by the round")
            other.start()
            has_begun.wait(20)
            wait_until(waits)
            Note.objects.filter(pk=theirs.pk).update(text="locked by the round")

    calls = spoilt(meet)
    runs = ready(STEPS, COUNT)
    work("default")
    other.join(30)
    demand_others_done(runs)
    assert (statuses(runs), calls[CULPRIT]) == ({"done": COUNT}, 2)


def register_broken_callback(context: Any, call: int) -> None:
    def call_back() -> None:
        Note.objects.create(text="called back")
        raise IntegrityError("in the callback")

    transaction.on_commit(call_back)


def test_rule_11_a_callback_that_raises_costs_nothing(spoilt) -> None:
    calls = spoilt(register_broken_callback)
    runs = ready(STEPS, COUNT)
    work("default")
    demand_others_done(runs)
    assert (statuses(runs), set(calls.values())) == ({"done": COUNT}, {1})
    assert Note.objects.filter(text="called back").count() == 1
    assert may_share(get_handler("tests.one"))


def test_rule_11_a_callback_closes_the_round_and_finds_it_committed_up_to_its_own_step(spoilt) -> None:
    seen: list[int] = []

    def look() -> None:
        done = in_threads(lambda: StepRun.objects.filter(step="one", status="done").count())
        seen.extend(done)

    spoilt(lambda context, call: transaction.on_commit(look))
    ready(STEPS, COUNT)
    work("default")
    assert seen == [CULPRIT + 1]


def test_rule_12_an_atomic_handler_that_cancels_its_own_run_spoils_no_other(spoilt) -> None:
    calls = spoilt(lambda context, call: cancel_run(context.run_id))
    runs = ready(STEPS, COUNT)
    work("default")
    demand_others_done(runs)
    assert (fresh(runs[CULPRIT]).status, history(runs[CULPRIT])) == ("cancelled", ["one:done"])
    assert (Note.objects.filter(key=str(runs[CULPRIT].pk)).count(), calls[CULPRIT]) == (1, 2)
    assert fresh(runs[CULPRIT]).actions.count() == 1


@KINDS
@pytest.mark.parametrize("place", [0, CULPRIT + 1])
def test_rule_12_a_handler_that_cancels_another_run_of_its_batch_spoils_no_third(spoilt, kind, place) -> None:
    runs: list[Run] = []
    spoilt(lambda context, call: fresh(runs[place]).is_final or cancel_run(runs[place]), kind)
    runs += ready([*STEPS, {"name": "last", "type": "tests.note"}], COUNT)
    follow(claim_batch())
    work("default")
    expected = Counter({"done": COUNT - 1, "cancelled": 1})
    assert (statuses(runs), fresh(runs[place]).status) == (expected, "cancelled")
    assert history(runs[place])[0] in ("one:done", "one:cancelled")
    assert "last:done" not in history(runs[place])
    done = [run for run in runs if run != runs[place]]
    assert {fresh(run).state["calls"] for run in done} == {1}
    assert Note.objects.filter(text="last").count() == COUNT - 1


def pause(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status="paused", revision=F("revision") + 1)


@KINDS
@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize("verb", [cancel_run, pause])
def test_rule_12_and_13_a_run_that_is_stopped_meanwhile_keeps_its_own_result(
    spoilt, kind, when, verb
) -> None:
    runs: list[Run] = []
    if when == "inside" and kind == "atomic":
        pytest.skip("the round holds the run's lock")
    spoilt(lambda context, call: when == "before" or in_threads(partial(verb, runs[CULPRIT])), kind)
    runs += ready(STEPS, COUNT)
    claims = claim_batch()
    if when == "before":
        in_threads(partial(verb, runs[CULPRIT]))
    follow(claims)
    work("default")
    demand_others_done(runs, notes=kind == "atomic")
    stopped = fresh(runs[CULPRIT])
    row = rows_of(runs, "one")[CULPRIT]
    assert (row.status, row.output, row.attempt, stopped.state["calls"]) == ("done", CULPRIT, 1, 1)
    if verb is cancel_run:
        assert (stopped.status, history(stopped)) == ("cancelled", ["one:done"])
        return
    assert (stopped.status, history(stopped)) == ("paused", ["one:done", "two:pending"])
    assert rows_of(runs, "two")[CULPRIT].due_at is None
