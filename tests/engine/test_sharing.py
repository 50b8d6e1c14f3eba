"""Which steps are claimed together and share a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import define, trigger
from django_workflow.engine import leases, rounds, sharing
from django_workflow.engine.execute import follow, work
from django_workflow.engine.give_back import give_back
from django_workflow.engine.rounds import next_round
from django_workflow.models import Run, StepRun
from django_workflow.registry import get_handler
from tests.support.batches import (
    ON_POSTGRES,
    claim_batch,
    committed_together,
    ready,
    rows_of,
    statuses,
    wait_until,
)
from tests.support.runs import fresh, history, in_threads, step_runs

pytestmark = [pytest.mark.usefixtures("patience"), pytest.mark.django_db(transaction=True)]
Calls = Counter[tuple[Any, ...]]


@pytest.fixture
def calls(register: Callable[..., Any]) -> Calls:
    """Register a counting step of each kind; the counts are by run, step and item."""
    counted: Calls = Counter()

    def count(context: Any) -> str:
        counted[context.run_id, context.step, context.index] += 1
        context.state["seen"] = [*context.state.get("seen", []), context.step]
        return str(context.step)

    register("tests.plain")(count)
    register("tests.idempotent", idempotent=True)(count)
    register("tests.atomic", atomic=True)(count)
    return counted


def chain(type: str, length: int = 3) -> list[dict[str, Any]]:
    return [{"name": f"step{place}", "type": type} for place in range(length)]


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_11_many_steps_are_recorded_once_each_in_few_commits(calls, type) -> None:
    runs = ready(chain(type), 60)
    with CaptureQueriesContext(connection) as captured:
        assert work("default") == 60
    assert (set(calls.values()), len(calls)) == ({1}, 180)
    for run in map(fresh, runs):
        assert (run.status, run.output, run.state["seen"]) == ("done", "step2", ["step0", "step1", "step2"])
        assert list(step_runs(run).order_by("number").values_list("attempt", "visit")) == [(1, 1)] * 3
    statements = [query["sql"] for query in captured]
    # Claims are a statement a run where the database is not PostgreSQL.
    most = 40 if connection.vendor == "postgresql" else 60 + 80
    assert len(statements) <= most, len(statements)
    assert sum(sql.startswith(("COMMIT", "BEGIN")) for sql in statements) <= 2 * 10


@ON_POSTGRES
@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_11_a_shared_round_has_no_savepoint(calls, type) -> None:
    ready(chain(type), 10)
    with CaptureQueriesContext(connection) as captured:
        work("default")
    assert not [query["sql"] for query in captured if "SAVEPOINT" in query["sql"]]


@ON_POSTGRES
@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_11_the_steps_of_a_batch_share_one_transaction(calls, type) -> None:
    runs = ready(chain(type, 2), 20)
    work("default")
    for name in ("step0", "step1"):
        assert len(committed_together(rows_of(runs, name))) == 1


@pytest.mark.parametrize(
    ("type", "size"), [("tests.plain", 1), ("tests.idempotent", 50), ("tests.atomic", 50)]
)
def test_rule_9_only_steps_that_may_share_are_claimed_together(calls, type, size) -> None:
    ready(chain(type), 60)
    claims = claim_batch()
    assert len(claims) == size
    assert {claim.step_run.solo for claim in claims} == {size == 1}
    assert StepRun.objects.filter(status="running").count() == size
    assert len({claim.token for claim in claims}) == 1


@pytest.mark.parametrize(("seconds", "size"), [(0.049, 5), (0.05, 1), (3.0, 1)])
def test_rule_9_a_type_is_claimed_alone_after_a_call_of_50_milliseconds(
    calls, monkeypatch, seconds, size
) -> None:
    monkeypatch.setattr(sharing, "FAST", 0.05)
    ready(chain("tests.idempotent"), 5)
    sharing.note_call(get_handler("tests.idempotent"), seconds)
    assert len(claim_batch()) == size


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_9_each_call_is_measured(calls, monkeypatch, type) -> None:
    monkeypatch.setattr(sharing, "FAST", 1e-9)
    runs = ready(chain(type), 5)
    claims = claim_batch()
    assert len(claims) == 5
    follow(claims)
    assert len(claim_batch()) == 1
    assert len(calls) >= 5
    assert statuses(runs)["failed"] == 0


def test_a_batch_whose_type_has_become_slow_is_done_one_by_one(calls, monkeypatch) -> None:
    monkeypatch.setattr(sharing, "FAST", 1e-9)
    runs = ready(chain("tests.idempotent"), 20)
    work("default")
    assert (statuses(runs), set(calls.values()), len(calls)) == ({"done": 20}, {1}, 60)


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_11_a_round_closes_when_its_handlers_took_long(calls, monkeypatch, type) -> None:
    monkeypatch.setattr(rounds, "LONGEST", -1.0)
    monkeypatch.setattr(rounds, "LONGEST_ON_SQLITE", -1.0)
    runs = ready(chain(type), 12)
    work("default")
    assert (statuses(runs), set(calls.values()), len(calls)) == ({"done": 12}, {1}, 36)
    if connection.vendor == "postgresql":
        assert len(committed_together(rows_of(runs, "step0"))) == 12


def test_rule_11_atomic_and_idempotent_steps_are_never_in_one_commit(calls) -> None:
    first = ready(chain("tests.atomic", 1), 6, name="atomic")
    second = ready(chain("tests.idempotent", 1), 6, name="idempotent")
    claims = claim_batch()
    assert len(claims) == 12
    together = next_round(claims)
    assert len({claim.spec.type for claim in together}) == 1
    assert len(next_round([claim for claim in claims if claim not in together])) == 6
    follow(claims)
    assert (statuses([*first, *second]), set(calls.values())) == ({"done": 12}, {1})
    if connection.vendor == "postgresql":
        groups = committed_together([*rows_of(first, "step0"), *rows_of(second, "step0")])
        assert sorted(map(len, groups)) == [6, 6]
        assert all(len({row.run_id in {run.pk for run in first} for row in group}) == 1 for group in groups)


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_9_a_plain_step_after_a_batch_is_left_ready_for_anybody(calls, type) -> None:
    runs = ready([{"name": "one", "type": type}, {"name": "two", "type": "tests.plain"}], 6)
    follow(claim_batch())
    for row in rows_of(runs, "two"):
        assert (row.status, row.lease_token, row.solo) == ("pending", None, False)
        assert row.due_at is not None
    assert len(claim_batch()) == 1
    work("default")
    assert statuses(runs) == {"done": 5, "running": 1}


@pytest.mark.parametrize("other", ["tests.idempotent", "tests.atomic"])
def test_a_chain_that_changes_its_kind_stays_in_hand_and_each_kind_is_recorded_right(calls, other) -> None:
    steps = [
        *chain("tests.idempotent", 1),
        {"name": "b", "type": "tests.atomic"},
        {"name": "c", "type": other},
    ]
    runs = ready(steps, 10)
    follow(claim_batch())
    assert (statuses(runs), set(calls.values()), len(calls)) == ({"done": 10}, {1}, 30)


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_16_items_and_branches_never_share_a_commit_with_their_own_siblings(calls, type) -> None:
    branches = [{"name": f"branch{place}", "type": type, "needs": ["first"]} for place in range(3)]
    join = {"name": "join", "type": type, "needs": [each["name"] for each in branches]}
    items = {"name": "items", "type": type, "for_each": "values", "needs": ["join"]}
    steps = [{"name": "first", "type": type}, *branches, join, items, {"name": "last", "type": type}]
    runs = ready(steps, 12)
    work("default")
    # The step of a for_each is a row of its own, and no call.
    assert (statuses(runs), set(calls.values()), len(calls)) == ({"done": 12}, {1}, 12 * (1 + 3 + 1 + 4 + 1))
    for run in runs:
        names = Counter(fresh(run).state["seen"])
        assert names == {
            "first": 1,
            "branch0": 1,
            "branch1": 1,
            "branch2": 1,
            "join": 1,
            "last": 1,
            "items": 4,
        }
        numbers = [row.number for row in step_runs(run) if row.index >= 0 or row.step != "items"]
        assert len(numbers) == len(set(numbers))
    if connection.vendor == "postgresql":
        for group in committed_together(StepRun.objects.filter(step__startswith="branch")):
            assert len({row.run_id for row in group}) == len(group)


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_5_branches_that_are_ready_at_once_are_not_claimed_together(calls, type) -> None:
    runs = ready([{"name": "a", "type": type, "needs": []}, {"name": "b", "type": type, "needs": []}], 4)
    claims = claim_batch()
    assert len({claim.run.pk for claim in claims}) == len(claims)
    follow(claims)
    work("default")
    assert statuses(runs) == {"done": 4}
    assert all(sorted(fresh(run).state["seen"]) == ["a", "b"] for run in runs)


def test_rule_9_what_waits_behind_a_slow_handler_is_given_back_and_done_by_others_once(
    register, monkeypatch
) -> None:
    monkeypatch.setattr(leases, "SLOW", 0.05)
    counted: Calls = Counter()

    @register("tests.slow", idempotent=True)
    def slow(context: Any) -> None:
        counted[(context.run_id,)] += 1
        if len(counted) == 1:
            wait_until(lambda: StepRun.objects.filter(status="pending").count() == 7)
            in_threads(partial(work, "default"))

    runs = ready([{"name": "one", "type": "tests.slow"}], 8)
    work("default")
    assert (statuses(runs), set(counted.values()), len(counted)) == ({"done": 8}, {1}, 8)
    assert {row.crashes for row in rows_of(runs, "one")} == {0}
    assert all(history(run) == ["one:done"] for run in runs)


@ON_POSTGRES
def test_rule_9_behind_a_slow_atomic_handler_they_are_given_back_when_its_locks_are(
    register, monkeypatch
) -> None:
    monkeypatch.setattr(leases, "SLOW", 0.05)
    monkeypatch.setattr(rounds, "LONGEST", 0.05)
    counted: Calls = Counter()
    tried, returned = set[UUID](), set[UUID]()

    def watched(using: str, run_id: UUID, *args: Any, **options: Any) -> bool:
        tried.add(run_id)
        is_ready = give_back(using, run_id, *args, **options)
        returned.add(run_id)
        return is_ready

    monkeypatch.setattr(leases, "give_back", watched)

    @register("tests.slow", atomic=True)
    def slow(context: Any) -> None:
        counted[(context.run_id,)] += 1
        if len(counted) == 1:
            wait_until(lambda: len(tried) == 7)
            assert not returned

    runs = ready([{"name": "one", "type": "tests.slow"}], 8)
    work("default")
    assert (statuses(runs), set(counted.values())) == ({"done": 8}, {1})
    wait_until(lambda: returned == tried)


def test_a_run_triggered_in_a_round_is_created_once_with_it(register) -> None:
    define("child", steps=[{"type": "tests.note"}])
    register("tests.parent", atomic=True)(lambda: str(trigger("child").pk))
    runs = ready([{"name": "one", "type": "tests.parent"}], 4)
    work("default")
    children = Run.objects.filter(workflow__name="child")
    assert [run.status for run in children] == ["done"] * 4
    assert {fresh(run).output for run in runs} == {str(run.pk) for run in children}
