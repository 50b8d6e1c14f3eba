"""What a doorbell does: a slice of work that others cut short, a short wait, and a ring for what is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis
from rq.job import Job

from django_workflow import define, jobs, trigger
from django_workflow.dispatch import PREFIX, find_bell, ring
from django_workflow.engine.tick import tick
from django_workflow.jobs import LINGER, Shift, work
from django_workflow.models import Run, StepRun
from django_workflow.status import RunStatus
from tests.servers.redis_server import RedisServer

from .conftest import waiting

pytestmark = [
    pytest.mark.usefixtures("queued"),
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

KEY, WORKER = "rq:queue:default", "rq:worker:tests"
SET = {"type": "flow.set", "with": {"greeting": "hi"}}


def start(*steps: dict[str, Any], **fields: Any) -> Run:
    define("doorbell", steps=[{"name": f"s{place}", **step} for place, step in enumerate(steps)], **fields)
    return trigger("doorbell")


def statuses(run: Run) -> list[str]:
    return list(run.step_runs.order_by("id").values_list("status", flat=True))


def begun(seconds: float, job: Job | None = None) -> Shift:
    """Return a shift that began so long ago."""
    return Shift(
        alias="default",
        queue="default",
        bell=find_bell("default"),
        job=job,
        began=time.monotonic() - seconds,
    )


def test_a_doorbell_drives_what_is_ready_to_its_end() -> None:
    runs = [start(SET, SET, SET) for _ in range(3)]
    work("default", "default")
    assert [statuses(run) for run in runs] == [["done"] * 3] * 3


def test_a_doorbell_is_for_one_queue_of_one_database() -> None:
    mine, elsewhere = start(SET), start({**SET, "queue": "slow"})
    other = define("doorbell", steps=[SET], using="other")
    theirs = trigger(other.name, using="other")
    work("default", "default")
    found = [Run.objects.using(run._state.db).get(pk=run.pk).status for run in (mine, elsewhere, theirs)]
    assert found == ["done", "pending", "pending"]


def test_a_step_for_another_queue_is_rung_for(redis: Redis) -> None:
    run = start(SET, {**SET, "queue": "slow"})
    work("default", "default")
    assert statuses(run) == ["done", "pending"]
    assert len(waiting(redis, "slow")) == 1


def test_a_slice_that_is_over_rings_for_what_is_left(redis: Redis) -> None:
    start(SET)
    redis.delete(KEY)
    begun(31).work()
    assert StepRun.objects.get().status == "pending"
    assert len(waiting(redis)) == 1


def test_a_slice_that_is_over_rings_for_nothing_where_nothing_is_left(redis: Redis) -> None:
    start({**SET, "delay": "1h"})
    redis.delete(KEY)
    begun(31).work()
    assert waiting(redis) == []


def test_it_returns_normally_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    work("nowhere", "default")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "broke off" in record.getMessage()


def test_it_works_without_redis(redis_server: RedisServer) -> None:
    run = start(SET, SET)
    redis_server.stop()
    begun(5).work()
    assert statuses(run) == ["done", "done"]


# What cuts a shift short


@pytest.mark.parametrize(
    ("seconds", "jobs", "is_over"),
    [
        (1.5, ["somebody's"], False),
        (2.5, ["somebody's"], True),
        (2.5, [f"{PREFIX}1", f"{PREFIX}2"], False),
        (2.5, [f"{PREFIX}1", "somebody's"], True),
        (2.5, [], False),
        (31, [], True),
    ],
)
def test_other_jobs_wait_for_two_seconds(
    redis: Redis, seconds: float, jobs: list[str], is_over: bool
) -> None:
    for job in jobs:
        redis.rpush(KEY, job)
    assert begun(seconds).is_over() is is_over


def test_redis_is_looked_at_once_a_second(redis: Redis) -> None:
    shift = begun(5)
    assert not shift.is_over()
    redis.rpush(KEY, "somebody's")
    assert not shift.is_over()
    shift.look_at -= 1
    assert shift.is_over()


def test_a_worker_that_is_to_stop_begins_no_other_step(redis: Redis) -> None:
    redis.hset(WORKER, "shutdown_requested_date", "2030-01-01T00:00:00Z")
    assert begun(1.5, job_of_worker()).is_over()


def test_workers_that_are_suspended_begin_no_other_step(redis: Redis) -> None:
    redis.set("rq:suspended", 1)
    assert begun(1.5).is_over()


def test_a_redis_that_is_away_does_not_end_a_shift(redis_server: RedisServer) -> None:
    shift = begun(5)
    redis_server.stop()
    assert not shift.is_over()


def test_sigterm_lets_a_forked_process_finish_its_step(redis: Redis, register: Callable[..., Any]) -> None:
    def stopped() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "finished"

    register("tests.stopped")(stopped)
    run = start({"type": "tests.stopped"}, SET)
    redis.delete(KEY)
    before = signal.getsignal(signal.SIGTERM)
    work("default", "default")
    assert statuses(run) == ["done", "pending"]
    assert len(waiting(redis)) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_worker_keeps_its_own_handler_of_sigterm(register: Callable[..., Any]) -> None:
    seen: list[int] = []

    def own(number: int, frame: Any) -> None:
        seen.append(number)

    register("tests.stopped")(lambda: signal.raise_signal(signal.SIGTERM))
    run = start({"type": "tests.stopped"}, SET)
    before = signal.signal(signal.SIGTERM, own)
    try:
        work("default", "default")
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (seen, statuses(run)) == ([signal.SIGTERM], ["done", "done"])


# Lingering


def job_of_worker(version: tuple[int, int, int] = (7, 0, 0)) -> Job:
    bell = find_bell("default")
    assert bell is not None
    job = Job.create("django_workflow.jobs.work", connection=bell.queue.connection)
    job.worker_name, job.redis_server_version = "tests", version
    return job


def lingering(redis: Redis, **facts: Any) -> Shift:
    """Return the shift of a process forked by a worker of this queue alone."""
    redis.hset(WORKER, mapping={"pid": os.getppid(), "queues": "default", **facts})
    return begun(0, job_of_worker())


def test_a_doorbell_that_comes_soon_is_taken(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LINGER", 60)
    shift = lingering(redis)
    timer = threading.Timer(LINGER / 3, ring, ("default", "default"))
    timer.start()
    assert shift.lingers()
    timer.join()
    assert waiting(redis) == []
    assert redis.keys("rq:job:*") == []


def test_a_step_keeps_the_id_of_the_job_that_executed_it(redis: Redis) -> None:
    run = start(SET, SET)
    (job_id,) = waiting(redis)
    Job.fetch(job_id, connection=redis).perform()
    assert set(run.step_runs.values_list("status", "job_id")) == {("done", job_id)}


def test_a_queue_class_that_raises_does_not_keep_a_worker_from_its_steps(settings: Any) -> None:
    run = start(SET)
    broken = {**settings.RQ_QUEUES["default"], "QUEUE_CLASS": "tests.queue.test_dispatch.Raising"}
    settings.RQ_QUEUES = {**settings.RQ_QUEUES, "default": broken}
    work("default", "default")
    assert statuses(run) == ["done"]


def test_nobody_lingers_for_long(redis: Redis) -> None:
    shift = lingering(redis)
    began = time.monotonic()
    assert not shift.lingers()
    assert time.monotonic() - began >= LINGER


@pytest.mark.parametrize(
    "facts",
    [
        {"pid": os.getpid()},
        {"queues": "default,slow"},
        {"queues": "slow"},
        {"shutdown_requested_date": "2030-01-01T00:00:00Z"},
    ],
)
def test_who_would_keep_others_waiting_does_not_linger(redis: Redis, facts: dict[str, Any]) -> None:
    ring("default", "default")
    assert not lingering(redis, **facts).lingers()
    assert len(waiting(redis)) == 1


def test_nobody_lingers_who_knows_of_no_worker(redis: Redis) -> None:
    ring("default", "default")
    assert not begun(0).lingers()
    assert not begun(0, job_of_worker()).lingers()
    assert not begun(0, job_of_worker((6, 0, 16))).lingers()


def test_a_job_that_waits_first_is_left_where_it_is(redis: Redis) -> None:
    redis.rpush(KEY, "somebody's", "another")
    ring("default", "default")
    before = waiting(redis)
    assert not lingering(redis).lingers()
    assert waiting(redis) == before


def test_a_doorbell_before_other_jobs_is_taken_and_they_stay(redis: Redis) -> None:
    ring("default", "default")
    redis.rpush(KEY, "somebody's", "another")
    assert lingering(redis).lingers()
    assert waiting(redis) == ["somebody's", "another"]


def test_the_doorbell_of_another_database_is_left_where_it_is(redis: Redis) -> None:
    ring("other", "default")
    before = waiting(redis)
    assert not lingering(redis).lingers()
    assert waiting(redis) == before


def test_what_idle_workers_wait_for_is_never_lost(redis: Redis, redis_server: RedisServer) -> None:
    """One process lingers, and a worker waits as RQ does: each job comes to exactly one of them."""
    taken: list[bytes] = []

    def be_idle() -> None:
        with redis_server.connect() as connection:
            while (job := connection.blmove(KEY, f"{KEY}:intermediate", 2)) != b"end":
                taken.append(job)

    worker = threading.Thread(target=be_idle)
    worker.start()
    lingered = 0
    for number in range(40):
        shift = lingering(redis)
        is_ours = number % 2
        push = (lambda: ring("default", "default")) if is_ours else (lambda: redis.rpush(KEY, "theirs"))
        pushing = threading.Timer(0.002, push)
        pushing.start()
        lingered += shift.lingers()
        pushing.join()
    redis.rpush(KEY, "end")
    worker.join()
    assert waiting(redis) == []
    assert taken.count(b"theirs") == 20
    assert len(taken) - 20 + lingered == 20


# The clock


def test_the_clock_rings_for_what_nobody_has_come_for(redis: Redis) -> None:
    start(SET)
    redis.delete(KEY)
    tick("default", is_stopping=lambda: False)
    assert waiting(redis) == []
    age(seconds=2)
    tick("default", is_stopping=lambda: False)
    tick("default", is_stopping=lambda: False)
    assert len(waiting(redis)) == 1


def age(**times: float) -> None:
    StepRun.objects.live().update(due_at=timezone.now() - timedelta(**times))


def test_the_clock_rings_each_queue(redis: Redis) -> None:
    for queue in ("default", "other", "slow"):
        start({**SET, "queue": queue})
    redis.flushall()
    age(seconds=2)
    tick("default", is_stopping=lambda: False)
    assert [len(waiting(redis, queue)) for queue in ("default", "other", "slow")] == [1, 1, 1]


def test_the_clock_rings_for_a_timer_that_is_over(redis: Redis) -> None:
    run = start({"type": "flow.sleep", "with": {"for": "1h"}})
    work("default", "default")
    assert statuses(run) == ["waiting"]
    redis.flushall()
    tick("default", is_stopping=lambda: False)
    assert waiting(redis) == []
    age(seconds=2)
    tick("default", is_stopping=lambda: False)
    assert len(waiting(redis)) == 1


def test_the_clock_rings_for_nothing_that_a_worker_would_leave(redis: Redis) -> None:
    start(SET)
    redis.flushall()
    age(seconds=2)
    Run.objects.update(status=RunStatus.PAUSED)
    tick("default", is_stopping=lambda: False)
    assert waiting(redis) == []


def test_steps_from_a_time_without_queues_are_driven_by_the_clock() -> None:
    run = start(SET, SET)
    StepRun.objects.update(queue="")
    tick("default", is_stopping=lambda: False)
    work("default", "default")
    assert statuses(run) == ["done", "done"]


def test_a_clock_that_is_to_stop_rings_nobody(redis: Redis) -> None:
    start(SET)
    redis.flushall()
    age(seconds=2)
    tick("default", is_stopping=lambda: True)
    assert waiting(redis) == []
