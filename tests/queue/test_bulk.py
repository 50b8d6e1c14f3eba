"""Bulk actions with a queue: a job that goes behind what waits, paced by workers, rung for by clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from redis import Redis
from rq.job import Job

from django_workflow import define, jobs, trigger
from django_workflow.dispatch import BULK, BULK_PREFIX, PREFIX, ring_for_bulk
from django_workflow.engine import bulk as bulk_actions
from django_workflow.engine.bulk import advance, start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.engine.tick import tick
from django_workflow.jobs import advance_bulk, work
from django_workflow.models import BulkAction, Run, RunAction, StepRun
from tests.servers.redis_server import RedisServer
from tests.support.processes import Processes, wait_until

from .conftest import waiting

pytestmark = [
    pytest.mark.usefixtures("queued"),
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

KEY = "rq:queue:default"
FAIL = {"name": "broken", "type": "flow.fail", "with": {"message": "broken"}}


def kinds_waiting(redis: Redis) -> list[str]:
    """Return what kinds of jobs wait, in their order."""
    ids = waiting(redis)
    return [
        "bulk" if each.startswith(BULK_PREFIX) else "doorbell" if PREFIX in each else each for each in ids
    ]


def failed(count: int, redis: Redis) -> list[Run]:
    """Return runs that have failed, with nothing in the queue."""
    define("flow", steps=[FAIL])
    runs = [trigger("flow") for _ in range(count)]
    work("default", "default")
    redis.flushall()
    return runs


def retrying() -> BulkAction:
    return start_bulk("retry", RunFilters(workflow="flow"), using="default")


def age(bulk: BulkAction) -> None:
    BulkAction.objects.filter(pk=bulk.pk).update(due_at=timezone.now() - timedelta(seconds=2))


def fresh(bulk: BulkAction) -> BulkAction:
    return BulkAction.objects.get(pk=bulk.pk)


def test_the_name_and_the_arguments_of_the_job_are_frozen(redis: Redis) -> None:
    """They are API between two releases on one queue."""
    failed(1, redis)
    bulk = retrying()
    (job_id,) = redis.lrange(KEY, 0, -1)
    job = Job.fetch(job_id.decode(), connection=redis)
    assert (job.func_name, job.args) == ("django_workflow.jobs.advance_bulk", ("default", str(bulk.pk)))
    assert (job.func_name, job.timeout, job.result_ttl) == (BULK, -1, 60)


def test_it_is_rung_for_after_the_commit_and_once(redis: Redis) -> None:
    failed(1, redis)
    with transaction.atomic():
        bulk = retrying()
        assert kinds_waiting(redis) == []
    ring_for_bulk("default", bulk.pk)
    assert kinds_waiting(redis) == ["bulk"]


def test_two_bulk_actions_are_two_jobs(redis: Redis) -> None:
    failed(1, redis)
    retrying()
    retrying()
    assert kinds_waiting(redis) == ["bulk", "bulk"]


def test_the_job_does_each_run_and_hands_its_steps_to_workers(redis: Redis) -> None:
    failed(3, redis)
    bulk = retrying()
    redis.flushall()
    advance_bulk("default", str(bulk.pk))
    assert (fresh(bulk).done, fresh(bulk).finished_at is not None) == (3, True)
    assert kinds_waiting(redis) == ["doorbell"]
    assert StepRun.objects.filter(status="pending", attempt=2).count() == 3


def test_a_job_whose_time_is_over_goes_behind_what_waits(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(3, redis)
    bulk = retrying()
    redis.flushall()
    redis.rpush(KEY, "somebody's")
    monkeypatch.setattr(jobs, "SHORT_SLICE", 0.0)
    advance_bulk("default", str(bulk.pk))
    assert fresh(bulk).done == 1
    assert kinds_waiting(redis) == ["somebody's", "doorbell", "bulk"]


def test_a_job_for_what_somebody_else_goes_on_with_does_nothing(redis: Redis) -> None:
    failed(2, redis)
    bulk = retrying()
    redis.flushall()
    BulkAction.objects.update(due_at=timezone.now() + timedelta(seconds=30))
    advance_bulk("default", str(bulk.pk))
    assert (fresh(bulk).done, kinds_waiting(redis)) == (0, [])


def test_the_job_returns_normally_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    advance_bulk("nowhere", str(BulkAction().pk))
    assert "broke off" in caplog.text


def test_it_waits_for_workers_that_have_yet_to_come_for_what_it_did(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_actions, "BATCH", 2)
    monkeypatch.setattr(bulk_actions, "AHEAD", 4)
    failed(10, redis)
    bulk = retrying()
    assert not advance("default", bulk.pk)
    assert fresh(bulk).done == 4
    age(bulk)
    assert not advance("default", bulk.pk)
    assert fresh(bulk).done == 4
    work("default", "default")
    age(bulk)
    advance("default", bulk.pk)
    assert fresh(bulk).done == 8


def test_steps_of_other_runs_do_not_hold_it_up(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "AHEAD", 4)
    failed(3, redis)
    define("other", steps=[FAIL])
    for _ in range(6):
        trigger("other")
    bulk = retrying()
    assert not advance("default", bulk.pk)
    assert (fresh(bulk).done, fresh(bulk).finished_at is not None) == (3, True)


def test_a_restart_is_paced_by_the_new_runs(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "BATCH", 2)
    monkeypatch.setattr(bulk_actions, "AHEAD", 4)
    failed(8, redis)
    bulk = start_bulk("restart", RunFilters(workflow="flow"), using="default")
    assert not advance("default", bulk.pk)
    assert fresh(bulk).done == 4


def test_the_clock_rings_for_what_nobody_has_come_for(redis: Redis) -> None:
    failed(1, redis)
    bulk = retrying()
    redis.flushall()
    tick("default", is_stopping=lambda: False)
    assert kinds_waiting(redis) == []
    age(bulk)
    tick("default", is_stopping=lambda: False)
    tick("default", is_stopping=lambda: False)
    assert kinds_waiting(redis) == ["bulk"]


def test_the_clock_rings_for_nothing_that_is_finished(redis: Redis) -> None:
    failed(1, redis)
    bulk = retrying()
    advance("default", bulk.pk)
    redis.flushall()
    tick("default", is_stopping=lambda: False)
    assert "bulk" not in kinds_waiting(redis)


def test_redis_is_down_when_it_starts(redis: Redis, redis_server: RedisServer) -> None:
    failed(1, redis)
    redis_server.stop()
    bulk = retrying()
    assert fresh(bulk).finished_at is None


def test_workers_that_are_killed_leave_it_to_others(processes: Processes, redis: Redis) -> None:
    define("flow", steps=[FAIL])
    for _ in range(200):
        trigger("flow")
    worker = processes.worker()
    wait_until(lambda: Run.objects.filter(status="failed").count() == 200)
    bulk = retrying()
    wait_until(lambda: fresh(bulk).done > 5)
    worker.kill()
    processes.clock()
    processes.worker()
    wait_until(lambda: fresh(bulk).finished_at is not None)
    assert fresh(bulk).done == 200
    assert RunAction.objects.values("run").distinct().count() == RunAction.objects.count() == 200
    wait_until(lambda: Run.objects.filter(status="failed").count() == 200)
    assert set(StepRun.objects.current().values_list("attempt", flat=True)) == {2}
