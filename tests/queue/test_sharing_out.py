"""Who is rung for what, and when: other workers get their share, and nothing ready waits for a clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import rq
from django.db import connection, connections
from redis import Redis
from rq.job import Job

from django_workflow import define, retry_run, trigger, trigger_many
from django_workflow.engine import execute, leases
from django_workflow.engine.claim import BATCH, claim_due
from django_workflow.engine.recover import recover_expired, recover_worker
from django_workflow.engine.stuck import recover_stuck
from django_workflow.engine.turns import writing
from django_workflow.jobs import work
from django_workflow.models import Run, StepRun
from django_workflow.worker import Worker
from tests.servers.redis_server import RedisServer
from tests.support.batches import wait_until
from tests.support.crashes import be_in_touch, crash
from tests.support.runs import fresh, in_threads

pytestmark = [pytest.mark.usefixtures("queued", "patience"), pytest.mark.django_db(transaction=True)]

Act = Callable[[], object]
QUEUES = ("default", "slow", "other")
PLAIN = {"name": "one", "type": "tests.plain"}
SHARED = {"name": "one", "type": "tests.idempotent"}


@pytest.fixture(autouse=True)
def seen(register: Callable[..., Any], redis: Redis) -> list[set[str]]:
    """Register steps that note which queues have been rung for when they run."""
    found: list[set[str]] = []

    def look() -> None:
        found.append(rung(redis))

    register("tests.plain")(look)
    register("tests.idempotent", idempotent=True)(look)
    register("tests.on_slow", queue="slow")(look)
    register("tests.broken")(lambda: 1 / 0)
    return found


def rung(redis: Redis) -> set[str]:
    return {queue for queue in QUEUES if redis.llen(f"rq:queue:{queue}")}


def pop(redis: Redis) -> None:
    """Take the doorbells, as workers do."""
    redis.delete(*(f"rq:queue:{queue}" for queue in QUEUES))


def start(*steps: dict[str, Any], count: int = 1, input: Any = None, **fields: Any) -> list[Run]:
    define("flow", steps=steps, **fields)
    return list(trigger_many("flow", [input or {}] * count))


# Rule 9: a claim that leaves ready rows behind rings


@pytest.mark.parametrize(
    ("step", "count", "rings"),
    [(PLAIN, 1, False), (PLAIN, 2, True), (SHARED, 5, False), (SHARED, BATCH + 1, True)],
)
def test_rule_9_a_claim_that_leaves_ready_steps_behind_rings(redis: Redis, step, count, rings) -> None:
    start(step, count=count)
    pop(redis)
    claims = claim_due("default", queue="default", most=BATCH)
    assert len(claims) == (1 if step is PLAIN else min(count, BATCH))
    assert rung(redis) == ({"default"} if rings else set())


def test_rule_9_it_rings_where_only_some_may_share(redis: Redis) -> None:
    start(SHARED, count=3)
    define("other", steps=[PLAIN])
    trigger("other")
    pop(redis)
    assert len(claim_due("default", queue="default", most=BATCH)) == 3
    assert rung(redis) == {"default"}


def test_rule_9_other_workers_are_rung_for_before_the_first_handler_runs(redis: Redis, seen) -> None:
    start(PLAIN, count=2)
    pop(redis)
    assert execute.work("default", queue="default") == 2
    assert seen[0] == {"default"}


def test_rule_9_what_another_queue_has_is_not_rung_for(redis: Redis) -> None:
    start(PLAIN)
    define("slow", steps=[{**PLAIN, "queue": "slow"}])
    trigger("slow")
    pop(redis)
    claim_due("default", queue="default", most=BATCH)
    assert rung(redis) == set()


# Rule 24: every transaction that leaves a ready step rings


def recording(*steps: dict[str, Any], keeps: bool = True, **fields: Any) -> Act:
    start(*steps, **fields)
    claims = claim_due("default")
    return partial(execute.follow, claims, keep=lambda: keeps)


def returning() -> Act:
    """Let a handler have run for long, with another step claimed behind it."""
    start(SHARED, count=2)
    slow, behind = claim_due("default", most=2)
    slow.lease.begun = time.monotonic() - 2

    def return_behind() -> None:
        for claim in (slow, behind):
            leases.hold(claim.lease)
        try:
            wait_until(lambda: behind.lease.is_given_back)
            with writing("default"):
                pass  # Its turn comes when the lease thread has done all of it.
        finally:
            leases.release(slow.lease)

    return return_behind


def recovering() -> Act:
    (run,) = start(PLAIN)
    crash(run, "one")
    be_in_touch()
    return partial(recover_expired, "default")


def recovering_a_workers() -> Act:
    (run,) = start(PLAIN)
    crash(run, "one", worker="host:1")
    return partial(recover_worker, "default", "host:1")


def repairing() -> Act:
    start(PLAIN)
    StepRun.objects.update(due_at=None)
    return partial(recover_stuck, "default")


def repairing_a_lost_step() -> Act:
    start(PLAIN)
    StepRun.objects.all().delete()
    return partial(recover_stuck, "default")


def retrying() -> Act:
    (run,) = start({"name": "one", "type": "tests.broken"})
    execute.work("default", queue="default")
    return partial(retry_run, fresh(run))


NEXT = {"name": "two", "type": "tests.plain"}
ELSEWHERE = {"name": "two", "type": "tests.on_slow"}
ITEMS = {**PLAIN, "for_each": "values", "max_parallel": 1}
CHANGES: dict[str, tuple[Callable[[], Act], str]] = {
    "trigger": (lambda: partial(start, PLAIN), "default"),
    "trigger elsewhere": (lambda: partial(start, ELSEWHERE), "slow"),
    "a recording that keeps nothing": (lambda: recording(PLAIN, NEXT, keeps=False), "default"),
    "a recording, and on elsewhere": (lambda: recording(PLAIN, ELSEWHERE), "slow"),
    "a recording, and two follow": (
        lambda: recording(PLAIN, NEXT, {**PLAIN, "name": "three", "needs": ["one"]}),
        "default",
    ),
    "a giving back": (returning, "default"),
    "a recovery": (recovering, "default"),
    "a recovery of a worker's": (recovering_a_workers, "default"),
    "a repair": (repairing, "default"),
    "a repair of a lost step": (repairing_a_lost_step, "default"),
    "a retry": (retrying, "default"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rule_24_what_leaves_a_step_ready_rings(redis: Redis, change) -> None:
    prepare, queue = CHANGES[change]
    act = prepare()
    pop(redis)
    act()
    assert StepRun.objects.filter(status="pending", queue=queue).exists()
    assert rung(redis) == {queue}


def test_rule_24_an_item_whose_turn_has_come_is_rung_for(redis: Redis) -> None:
    start(ITEMS, input={"values": [1, 2]})
    execute.follow(claim_due("default"), keep=lambda: False)
    claims = claim_due("default")
    assert [claim.step_run.index for claim in claims] == [0]
    pop(redis)
    execute.follow(claims, keep=lambda: False)
    assert StepRun.objects.get(status="pending").index == 1
    assert rung(redis) == {"default"}


def test_rule_24_the_first_claim_does_not_see_with_the_eyes_of_an_earlier_transaction(seen) -> None:
    define("flow", steps=[PLAIN])
    if connection.vendor == "postgresql":
        connection.cursor().execute("SET default_transaction_isolation = 'repeatable read'")
    connection.set_autocommit(False)
    if connection.vendor == "sqlite":
        connection.cursor().execute("BEGIN")
    assert not Run.objects.exists()
    try:
        in_threads(partial(trigger, "flow"))
        work("default", "default")
        assert len(seen) == 1
    finally:
        connection.close()


# Rule 26: the worker


def make_worker(redis_server: RedisServer, **options: Any) -> Worker:
    return Worker(["default"], connection=redis_server.connect(), **options)


def test_rule_26_the_worker_forks_without_a_connection_to_a_database(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_at_fork: list[list[str]] = []

    def fork() -> int:
        open_at_fork.append([each.alias for each in connections.all() if each.connection is not None])
        return 2**22

    for name in ("RQ_WORKER_ID", "RQ_JOB_ID"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(os, "fork", fork)
    worker = make_worker(redis_server)
    monkeypatch.setattr(worker, "procline", lambda text: None)
    connection.ensure_connection()
    worker.fork_work_horse(Job(connection=worker.connection), worker.queues[0])
    assert (open_at_fork, worker.horse_pid) == ([[]], 2**22)


def test_rule_26_the_worker_looks_up_more_often_than_rqs_own(redis_server: RedisServer) -> None:
    worker = make_worker(redis_server)
    usual = rq.Worker(["default"], connection=redis_server.connect())
    assert (worker.job_monitoring_interval, worker.maintenance_interval) == (10, 30)
    assert (worker.dequeue_timeout, worker.max_connection_wait_time) == (5, 5)
    assert worker.connection_timeout == usual.connection_timeout > worker.dequeue_timeout
    assert usual.job_monitoring_interval > worker.job_monitoring_interval
    assert usual.dequeue_timeout > worker.dequeue_timeout


def test_rule_26_intervals_that_a_project_gives_are_kept(redis_server: RedisServer) -> None:
    worker = make_worker(redis_server, job_monitoring_interval=3, maintenance_interval=7, worker_ttl=18)
    assert (worker.job_monitoring_interval, worker.maintenance_interval) == (3, 7)
    assert worker.dequeue_timeout == 3


# Which queue a step is on


@pytest.mark.parametrize(
    ("step", "type", "workflow", "queue"),
    [
        (None, None, None, "default"),
        (None, None, "slow", "slow"),
        (None, "other", None, "other"),
        (None, "other", "slow", "other"),
        ("default", "other", "slow", "default"),
        ("slow", None, "other", "slow"),
    ],
)
def test_the_queue_is_the_steps_or_its_types_or_its_workflows_or_the_settings(
    redis: Redis, register, step, type, workflow, queue
) -> None:
    register("tests.queued", queue=type)(lambda: None)
    first = {"type": "tests.queued"} | ({} if step is None else {"queue": step})
    (run,) = start(first, **({} if workflow is None else {"queue": workflow}))
    assert set(run.step_runs.values_list("queue", flat=True)) == rung(redis) == {queue}
