"""Claims that are lost, expire or cannot be recorded, alone and in batches."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.utils import timezone

from django_workflow import Sleep
from django_workflow.engine.execute import follow, work
from django_workflow.engine.record import always
from django_workflow.engine.recover import recover_expired
from django_workflow.engine.rounds import execute_round
from django_workflow.engine.single import execute
from django_workflow.models import Run, StepRun
from tests.support.batches import (
    ON_POSTGRES,
    Losing,
    claim_batch,
    is_recording,
    lose_connection,
    ready,
    rows_of,
    statuses,
)
from tests.support.crashes import be_in_touch
from tests.support.runs import fresh, history, let_time_pass, start, step_run
from tests.testapp.models import Note

pytestmark = [pytest.mark.usefixtures("patience"), pytest.mark.django_db(transaction=True)]
COUNT, MIDDLE = 8, 3
STEPS: list[dict[str, Any]] = [
    {"name": "one", "type": "tests.one", "with": {"place": "{{ place }}"}},
    {"name": "two", "type": "tests.two"},
]
SHARED = pytest.mark.parametrize("kind", ["idempotent", "atomic"])
KINDS = pytest.mark.parametrize("kind", ["plain", "idempotent", "atomic"])
Prepare = Callable[..., Counter[str]]


@pytest.fixture
def prepare(register: Callable[..., Any]) -> Prepare:
    """Return what registers both steps; the run in the middle calls ``spoil``, the first ``times``."""

    def prepare(kind: str, spoil: Callable[[], object] = lambda: None, times: int = 1) -> Counter[str]:
        calls: Counter[str] = Counter()
        said = {} if kind == "plain" else {kind: True}

        @register("tests.one", **said)
        def one(context: Any, place: int) -> int:
            calls[f"one {place}"] += 1
            context.state["calls"] = context.state.get("calls", 0) + 1
            if kind == "atomic":
                Note.objects.create(text="one", key=f"{context.run_id}")
            if place == MIDDLE and calls[f"one {place}"] <= times:
                spoil()
            return place

        @register("tests.two", **said)
        def two(context: Any) -> None:
            calls["two"] += 1
            context.state["calls"] += 1

        return calls

    return prepare


def demand_all_done(runs: list[Run], kind: str) -> None:
    """Demand that every step of every run is recorded once, and that nothing counted against any."""
    for place, run in enumerate(runs):
        seen = fresh(run)
        assert (seen.status, seen.state["calls"]) == ("done", 2), (place, history(run))
        assert history(run) == ["one:done", "two:done"]
    assert set(StepRun.objects.values_list("attempt", "crashes")) == {(1, 0)}
    assert Note.objects.filter(text="one").count() == (len(runs) if kind == "atomic" else 0)


def expire() -> None:
    past = timezone.now() - timedelta(minutes=1)
    StepRun.objects.filter(status="running").update(due_at=past, lease_until=past)


@SHARED
def test_rule_10_an_expired_batch_is_marked_solo_and_nothing_is_counted(prepare, kind) -> None:
    calls = prepare(kind)
    runs = ready(STEPS, COUNT)
    assert len(claim_batch()) == COUNT
    expire()
    be_in_touch()
    assert recover_expired("default") == COUNT
    assert set(StepRun.objects.values_list("status", "solo", "crashes")) == {("pending", True, 0)}
    assert [len(claim_batch()), len(claim_batch())] == [1, 1]
    expire()
    be_in_touch()
    recover_expired("default")
    assert sorted(StepRun.objects.values_list("crashes", flat=True)) == [0] * (COUNT - 2) + [1, 1]
    work("default")
    assert (statuses(runs), calls["two"]) == ({"done": COUNT}, COUNT)


@SHARED
@pytest.mark.parametrize("revised", [True, False])
def test_rule_1_of_a_batch_a_stale_token_is_refused_and_the_others_are_recorded(
    prepare, kind, revised
) -> None:
    prepare(kind)
    runs = ready(STEPS, COUNT)
    claims = claim_batch()
    taken = StepRun.objects.filter(run=runs[MIDDLE])
    taken.update(lease_token=(token := uuid4()))
    Run.objects.filter(pk=runs[MIDDLE].pk).update(revision=F("revision") + int(revised))
    revision = fresh(runs[MIDDLE]).revision
    follow(claims)
    assert statuses(runs) == {"done": COUNT - 1, "running": 1}
    row = rows_of(runs, "one")[MIDDLE]
    assert (row.status, row.lease_token, row.number, row.output) == ("running", token, None, None)
    assert (fresh(runs[MIDDLE]).revision, fresh(runs[MIDDLE]).state.get("calls")) == (revision, None)
    assert Note.objects.filter(key=str(runs[MIDDLE].pk)).count() == 0
    assert Note.objects.count() == (COUNT - 1 if kind == "atomic" else 0)


@KINDS
def test_rule_18_a_claim_that_was_not_renewed_for_a_lease_begins_no_handler(prepare, kind) -> None:
    calls = prepare(kind)
    runs = ready(STEPS, COUNT if kind != "plain" else MIDDLE + 1)
    claims = claim_batch()
    late = next((claim for claim in claims if claim.run.pk == runs[MIDDLE].pk), claims[-1])
    late.lease.renewed = time.monotonic() - 60.5
    # Without the lease thread, which might renew it before.
    waiting = list(claims)
    while waiting:
        begun, _following = execute_round(waiting, keep=lambda: False)
        waiting = waiting[begun:] if begun else _one_by_one(waiting)
    row = StepRun.objects.get(pk=late.step_run.pk)
    assert (row.status, row.lease_token, row.number) == ("running", late.token, None)
    assert sum(calls[f"one {place}"] for place in range(COUNT) if runs[place : place + 1] == [late.run]) == 0
    assert StepRun.objects.filter(step="one", status="done").count() == len(claims) - 1


def _one_by_one(claims: list[Any]) -> list[Any]:
    for claim in claims:
        execute(claim, keep=lambda: False)
    return []


@KINDS
def test_rule_18_the_lease_of_what_follows_counts_from_before_its_recording(prepare, kind) -> None:
    prepare(kind)
    ready(STEPS, 1)
    began: list[float] = []

    def note(call: Any, sql: str, *rest: Any) -> Any:
        if is_recording(sql):
            began.append(time.monotonic())
        return call(sql, *rest)

    claims = claim_batch()
    with connection.execute_wrapper(note):
        following = execute(claims[0], keep=always)
    assert following is not None
    # A recording may wait for a lock; meanwhile the lease that it writes grows old.
    assert following.lease.renewed <= began[-1]


def close_and_raise() -> None:
    connection.close()
    raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("plain", close_and_raise),
        ("idempotent", close_and_raise),
        pytest.param("atomic", close_and_raise, marks=ON_POSTGRES),
        pytest.param("plain", lose_connection, marks=ON_POSTGRES),
        pytest.param("idempotent", lose_connection, marks=ON_POSTGRES),
        pytest.param("atomic", lose_connection, marks=ON_POSTGRES),
    ],
)
def test_rule_19_a_connection_lost_in_a_handler_is_not_its_fault(prepare, kind, spoil) -> None:
    calls = prepare(kind, spoil)
    runs = ready(STEPS, COUNT)
    work("default", seconds=6)
    demand_all_done(runs, kind)
    assert calls[f"one {MIDDLE}"] == 2


@pytest.mark.parametrize("kind", ["plain", "idempotent"])
def test_a_handler_that_closes_the_connection_between_its_queries_is_free_to(prepare, kind) -> None:
    calls = prepare(kind, connection.close)
    runs = ready(STEPS, COUNT)
    work("default", seconds=6)
    demand_all_done(runs, kind)
    assert set(calls.values()) == {1, COUNT}


@ON_POSTGRES
@KINDS
@pytest.mark.parametrize("at", [1, 2])
def test_rule_19_a_connection_lost_right_before_a_recording_loses_no_step(prepare, kind, at) -> None:
    prepare(kind)
    runs = ready(STEPS, COUNT)
    with connection.execute_wrapper(losing := Losing(at=at)):
        work("default", seconds=6)
    work("default", seconds=6)
    assert losing.seen > at
    demand_all_done(runs, kind)


@ON_POSTGRES
@KINDS
@pytest.mark.parametrize("at", [1, 2])
def test_rule_19_a_commit_whose_answer_was_lost_leaves_nothing_behind(prepare, kind, at) -> None:
    calls = prepare(kind)
    runs = ready(STEPS, COUNT)
    with connection.execute_wrapper(Losing(at=at, after=True)):
        work("default", seconds=6)
    assert not StepRun.objects.filter(status="running").exists()
    work("default", seconds=6)
    demand_all_done(runs, kind)
    if kind != "atomic":
        assert set(calls.values()) == {1, COUNT}


@ON_POSTGRES
def test_rule_19_what_follows_a_shared_commit_is_not_forgotten_when_a_later_recording_fails(prepare) -> None:
    prepare("idempotent")
    runs = ready(STEPS, COUNT)
    claims = claim_batch()
    # So that it is not recorded with the others, but after them, alone.
    Run.objects.filter(pk=runs[MIDDLE].pk).update(revision=F("revision") + 1)
    with connection.execute_wrapper(Losing(at=2)):
        follow(claims, patience=timedelta(seconds=6))
    assert not StepRun.objects.filter(status="running").exists()
    work("default", seconds=6)
    demand_all_done(runs, "idempotent")


@ON_POSTGRES
def test_rule_19_a_claim_whose_answer_was_lost_counts_no_crash(prepare) -> None:
    prepare("plain")
    runs = ready(STEPS, 1)

    def lose(call: Any, sql: str, *rest: Any) -> Any:
        result = call(sql, *rest)
        if "SKIP LOCKED" in sql and not seen:
            seen.append(sql)
            lose_connection()
        return result

    seen: list[str] = []
    with connection.execute_wrapper(lose):
        work("default")
    expire()
    be_in_touch()
    recover_expired("default")
    work("default")
    demand_all_done(runs, "plain")


@KINDS
def test_rule_19_an_operational_error_over_a_living_connection_is_a_failed_attempt(prepare, kind) -> None:
    def spoil() -> None:
        raise OperationalError("no such table")

    prepare(kind, spoil, times=3)
    runs = ready(STEPS, COUNT)
    work("default", seconds=6)
    assert statuses(runs) == {"done": COUNT - 1, "failed": 1}
    row = rows_of(runs, "one")[MIDDLE]
    assert (row.error_type, row.attempt) == ("django.db.utils.OperationalError", 1)
    assert set(StepRun.objects.values_list("crashes", flat=True)) == {0}


def test_rule_19_inline_a_connection_lost_in_a_handler_leaves_the_step_ready(prepare) -> None:
    prepare("plain", close_and_raise)
    run = start(STEPS, {"place": MIDDLE})
    assert step_run(run, "one").status in ("pending", "done")
    work("default", seconds=6)
    demand_all_done([run], "plain")


def test_a_step_that_lost_its_connection_now_and_then_in_months_is_not_to_blame(register) -> None:
    calls: list[int] = []

    @register("tests.one")
    def one() -> Any:
        calls.append(1)
        if len(calls) % 2:
            connection.close()
            raise OperationalError("gone")
        return Sleep(timedelta(days=30)) if len(calls) < 12 else "done"

    run = start([{"name": "one", "type": "tests.one"}])
    while not run.is_final:
        run = let_time_pass(run)
    assert (run.status, run.output, step_run(run, "one").attempt, len(calls)) == ("done", "done", 1, 12)
