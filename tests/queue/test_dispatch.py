"""The doorbell: rung after the commit, once while it waits, and never in the way of who triggers."""

from __future__ import annotations

import logging
import os
import statistics
import threading
import time
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from django_workflow import define, dispatch, process, trigger, trigger_many
from django_workflow.conf import get_settings
from django_workflow.dispatch import PREFIX, find_bell, is_redis_silent, ring, ring_after_commit
from django_workflow.line import PAUSE
from tests.servers.redis_server import RedisServer

from .conftest import waiting

pytestmark = pytest.mark.usefixtures("queued")

KEY = "rq:queue:default"
QUIET = [{"type": "flow.set", "with": {"greeting": "hi"}}]


class Raising(Queue):
    """A project's own queue class, in a bad mood."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("given", "queues", "queue"),
    [
        ({}, None, None),
        ({}, {}, None),
        ({}, {"default": {}}, "default"),
        ({}, {"high": {}}, "default"),
        ({"QUEUE": None}, {"default": {}}, None),
        ({"QUEUE": "high"}, {"default": {}, "high": {}}, "high"),
        ({"QUEUE": "high"}, None, "high"),
        ({"QUEUE": 7}, {"default": {}}, "default"),
        ({"QUEUE": ""}, None, None),
        ({}, {"default": {"ASYNC": True}}, "default"),
        ({}, {"default": {"ASYNC": False}}, None),
        ({"QUEUE": "high"}, {"default": {"ASYNC": False}, "high": {}}, "high"),
    ],
)
def test_steps_run_on_a_queue_where_there_is_one(
    settings: Any, given: dict[str, Any], queues: Any, queue: str | None
) -> None:
    settings.DJANGO_WORKFLOW = given
    settings.RQ_QUEUES = queues
    found = get_settings().QUEUE
    assert found == queue


def test_the_doorbell_is_api_between_two_releases_on_one_queue(redis: Redis) -> None:
    """Workers of an earlier release answer to this name and these arguments. Do not change them."""
    ring("other", "default")
    (job_id,) = waiting(redis)
    job = Job.fetch(job_id, connection=redis)
    assert (job.func_name, job.args, job.kwargs) == ("django_workflow.jobs.work", ("other", "default"), {})
    assert job_id.startswith("workflow-doorbell-")
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (-1, 60, 86400)


def test_a_doorbell_that_waits_is_enough(redis: Redis) -> None:
    for _ in range(3):
        ring("default", "default")
    assert len(waiting(redis)) == 1


def test_a_doorbell_of_another_process_is_enough(redis: Redis) -> None:
    ring("default", "default")
    process.forget()
    ring("default", "default")
    assert len(waiting(redis)) == 1


def test_each_database_and_each_queue_has_a_doorbell_of_its_own(redis: Redis) -> None:
    for alias, queue in [("default", "default"), ("other", "default"), ("default", "slow")] * 2:
        ring(alias, queue)
    assert (len(waiting(redis)), len(waiting(redis, "slow"))) == (2, 1)


@pytest.mark.parametrize("lost", ["popped", "flushed", "moved to a worker"])
def test_a_doorbell_that_waits_no_more_is_rung_again(redis: Redis, lost: str) -> None:
    ring("default", "default")
    if lost == "flushed":
        redis.flushall()
    elif lost == "popped":
        redis.lpop(KEY)
    else:
        redis.lmove(KEY, f"{KEY}:intermediate")
    ring("default", "default")
    assert len(waiting(redis)) == 1


def test_the_doorbell_of_a_started_job_is_not_waiting(redis: Redis) -> None:
    """Its hash and status are still there: asking them would lose the wake-up."""
    ring("default", "default")
    job_id = redis.lpop(KEY)
    Job.fetch(job_id.decode(), connection=redis).set_status("queued")
    ring("default", "default")
    assert waiting(redis) not in ([], [job_id.decode()])


def test_other_jobs_in_the_queue_are_no_doorbells(redis: Redis) -> None:
    redis.rpush(KEY, "somebody's job", f"{PREFIX}of-a-lost-key")
    ring("default", "default")
    assert len(waiting(redis)) == 3


def test_looking_for_a_doorbell_asks_for_nothing_but_its_id(redis: Redis) -> None:
    ring("default", "default")
    bell = find_bell("default")
    assert bell is not None
    with redis.monitor() as monitor:
        ring("default", "default")
        bell.queue.connection.echo("end")
        seen = [next(commands)["command"].split()[0] for commands in [monitor.listen()] for _ in range(3)]
    assert seen == ["GET", "LPOS", "ECHO"]


def test_nobody_is_rung_for_inline(redis: Redis, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    ring("default", "default")
    assert waiting(redis) == []


@pytest.mark.parametrize("is_async", [True, False])
def test_a_queue_that_runs_jobs_at_once_waits_for_a_worker_all_the_same(
    redis: Redis, settings: Any, is_async: bool
) -> None:
    slow = {**django_settings.RQ_QUEUES["slow"], "ASYNC": is_async}
    settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, "slow": slow}
    ring("default", "slow")
    assert len(waiting(redis, "slow")) == 1


def test_the_serializer_of_the_queue_is_used(redis: Redis, settings: Any) -> None:
    config = {**django_settings.RQ_QUEUES["slow"], "SERIALIZER": "rq.serializers.JSONSerializer"}
    settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, "slow": config}
    ring("default", "slow")
    (job_id,) = waiting(redis, "slow")
    job = Job.fetch(job_id, connection=redis, serializer="rq.serializers.JSONSerializer")
    assert tuple(job.args) == ("default", "slow")


def test_a_queue_that_was_changed_in_place_is_another_one(settings: Any) -> None:
    settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, "slow": {**django_settings.RQ_QUEUES["slow"]}}
    first = find_bell("slow")
    assert find_bell("slow") is first
    settings.RQ_QUEUES["slow"]["SERIALIZER"] = "rq.serializers.JSONSerializer"
    second = find_bell("slow")
    assert second is not None
    assert second.queue.serializer is JSONSerializer


def test_whether_a_redis_is_silent_is_asked_while_another_thread_finds_queues(settings: Any) -> None:
    config = django_settings.RQ_QUEUES["slow"]
    settings.RQ_QUEUES = {f"q{number}": {**config, "DB": number} for number in range(2000)}
    finder = threading.Thread(target=lambda: [find_bell(queue) for queue in settings.RQ_QUEUES])
    finder.start()
    while finder.is_alive():
        assert not is_redis_silent()
    finder.join()


def test_queues_in_one_redis_share_a_connection() -> None:
    default, slow = find_bell("default"), find_bell("slow")
    assert default is not None
    assert slow is not None
    assert default.line is slow.line


@pytest.mark.parametrize(
    ("queue", "config", "why"),
    [
        ("nowhere", None, "it is not in RQ_QUEUES"),
        ("broken", {"PORT": 6379}, "KeyError: 'HOST'"),
        ("broken", {"URL": "nonsense"}, "ValueError"),
        ("broken", {"URL": "redis://", "QUEUE_CLASS": f"{__name__}.Raising"}, "RuntimeError: not today"),
    ],
)
def test_a_queue_that_cannot_be_used_is_named_once(
    settings: Any, caplog: pytest.LogCaptureFixture, queue: str, config: Any, why: str
) -> None:
    if config is not None:
        settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, queue: config}
    for _ in range(3):
        ring("default", queue)
    (record,) = caplog.records
    assert repr(queue) in record.getMessage()
    assert why in record.getMessage()


# After the commit


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("alias", ["default", "other"])
def test_it_is_rung_after_the_commit_of_its_own_database(redis: Redis, alias: str) -> None:
    with transaction.atomic(using=alias), transaction.atomic(using="default"):
        ring_after_commit(alias, ["default", "slow", "default"])
        assert waiting(redis) == []
    assert (len(waiting(redis)), len(waiting(redis, "slow"))) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_trigger_that_is_rolled_back_rings_nobody(redis: Redis) -> None:
    define("quiet", steps=QUIET)
    with transaction.atomic():
        trigger("quiet")
        transaction.set_rollback(True)
    assert waiting(redis) == []


@pytest.mark.django_db(transaction=True)
def test_many_triggers_ring_once(redis: Redis) -> None:
    define("quiet", steps=QUIET)
    for _ in range(5):
        trigger("quiet")
    trigger_many("quiet", [{}] * 20)
    assert len(waiting(redis)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_trigger_goes_on_at_once_without_redis(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    define("quiet", steps=QUIET)
    ring("default", "default")
    redis_server.stop()
    runs = [trigger("quiet") for _ in range(3)]
    assert {run.status for run in runs} == {"pending"}
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "Redis does not answer" in record.getMessage()


@pytest.mark.parametrize("queues", [["default"], ["default", "slow", "other"]])
def test_a_redis_that_hangs_costs_a_second_and_then_nothing(
    redis_server: RedisServer, queues: list[str]
) -> None:
    ring("default", "default")
    redis_server.pause()
    seconds = []
    for queue in queues * 5:
        began = time.monotonic()
        ring("default", queue)
        seconds.append(time.monotonic() - began)
    assert statistics.median(seconds) < max(seconds) / 5


def test_it_is_rung_again_when_redis_is_back(
    redis_server: RedisServer, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_workflow")
    ring("default", "default")
    redis_server.stop()
    ring("default", "default")
    redis_server.start()
    bell = find_bell("default")
    assert bell is not None
    ring("default", "default")
    assert waiting(redis) == []
    assert 0 <= time.monotonic() - bell.line.tried_at < PAUSE
    bell.line.tried_at -= PAUSE
    ring("default", "default")
    assert len(waiting(redis)) == 1
    assert [each.levelname for each in caplog.records] == ["ERROR", "INFO"]


def test_a_redis_that_was_restarted_unnoticed_is_reached_at_once(
    redis_server: RedisServer, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ring("default", "default")
    redis_server.restart()
    ring("default", "default")
    assert len(waiting(redis)) == 1
    assert caplog.records == []


def test_timeouts_that_a_project_gives_are_kept(settings: Any) -> None:
    url = {"URL": f"unix://{django_settings.REDIS_SOCKET}?socket_timeout=7&socket_connect_timeout=8"}
    settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, "slow": url}
    bell, usual = find_bell("slow"), find_bell("default")
    assert bell is not None
    assert usual is not None
    options = bell.queue.connection.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (7, 8)
    options = usual.queue.connection.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1, 1)


def test_sentinels_that_are_down_do_not_keep_anybody(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    sentinels = {"SENTINELS": [("127.0.0.1", 1)] * 3, "MASTER_NAME": "main", "DB": 0}
    settings.RQ_QUEUES = {**django_settings.RQ_QUEUES, "slow": sentinels}
    ring("default", "slow")
    assert "Redis does not answer" in caplog.text


def test_threads_that_ring_at_once_leave_a_doorbell(redis: Redis) -> None:
    threads = [threading.Thread(target=ring, args=("default", "default")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waiting(redis)


def test_a_forked_process_makes_a_connection_of_its_own(redis: Redis) -> None:
    ring("default", "default")
    redis.delete(KEY)
    child = os.fork()
    if not child:
        ring("default", "default")
        os._exit(len(dispatch._bells))
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert len(waiting(redis)) == 1
