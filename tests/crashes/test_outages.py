"""Redis and the database go away and come back: every run ends, and nothing is recorded twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection, transaction

from django_workflow import trigger
from django_workflow.models import Run
from tests.servers.postgres import PostgresServer
from tests.servers.redis_server import RedisServer
from tests.support.load import (
    PLAIN,
    ROUNDS,
    all_ended,
    assert_recorded_once,
    crashes,
    define_chain,
    recorded,
    start_chains,
    wait_for_end,
)
from tests.support.processes import PATIENCE, Kind, Processes, wait_until

only_postgres = pytest.mark.skipif(settings.VENDOR != "postgres", reason="there is no server to restart")


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Return the server of the tests' database; it runs again afterwards."""
    yield postgres
    connection.close()
    postgres.start()


@contextmanager
def not_hanging() -> Iterator[None]:
    """Assert that nothing in the block waits for a Redis that does not answer: that would be for ever."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE


def wait_for_all(processes: Processes) -> None:
    """Wait until all runs have ended, while a supervisor starts again what ended."""
    wait_for_end(meanwhile=processes.revive)


def test_trigger_returns_at_once_with_redis_down_and_the_run_is_done_when_redis_is_back(
    processes: Processes, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    processes.clock()
    processes.worker()
    define_chain()
    redis_server.stop()
    with not_hanging():
        trigger("chain", {})
    assert [record for record in caplog.records if record.name == "django_workflow"]
    assert not all_ended()
    redis_server.start()
    wait_for_all(processes)
    assert_recorded_once()


def test_a_thousand_triggers_with_redis_down_cost_no_thousand_timeouts(
    processes: Processes, redis_server: RedisServer
) -> None:
    define_chain([PLAIN])
    redis_server.stop()
    with not_hanging():
        for _ in range(200):
            trigger("chain", {})
    assert Run.objects.count() == 200


def test_trigger_does_not_wait_for_a_redis_that_hangs(
    processes: Processes, redis_server: RedisServer
) -> None:
    define_chain()
    redis_server.pause()
    with not_hanging():
        trigger("chain", {})
    redis_server.resume()
    processes.clock()
    processes.worker()
    wait_for_all(processes)
    assert_recorded_once()


def test_a_rolled_back_trigger_rings_for_nobody(processes: Processes, redis_server: RedisServer) -> None:
    define_chain()
    with transaction.atomic():
        trigger("chain", {})
        transaction.set_rollback(True)
    with redis_server.connect() as redis:
        assert redis.llen("rq:queue:default") == 0
    assert not Run.objects.exists()


def disturb(fault: Callable[[], None], *, times: int = 4) -> None:
    """Cause a fault each time that a few steps more are recorded."""
    for _ in range(times):
        goal = recorded() + 8
        wait_until(lambda goal=goal: recorded() >= goal, what=f"{goal} steps")  # type: ignore[misc]
        assert not all_ended(), "the load was too small to show anything"
        fault()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("simple", "flush"),
        pytest.param("simple", "kill", marks=pytest.mark.sqlite_too),
        ("forking", "flush"),
        ("forking", "restart"),
        ("ours", "kill"),
    ],
)
def test_redis_loses_everything_under_load(
    processes: Processes, redis_server: RedisServer, kind: Kind, fault: str
) -> None:
    processes.clock()
    processes.worker(kind=kind)
    processes.worker(kind=kind)
    start_chains(40, ms=5)

    def lose_everything() -> None:
        processes.revive()
        if fault == "flush":
            redis_server.flush()
        elif fault == "restart":
            redis_server.restart()
        else:
            redis_server.kill()
            redis_server.start()

    disturb(lose_everything)
    wait_for_all(processes)
    assert crashes() == 0
    assert assert_recorded_once() == 0


@only_postgres
@pytest.mark.parametrize(
    ("kind", "by"),
    [("simple", signal.SIGINT), ("forking", signal.SIGQUIT), ("ours", signal.SIGQUIT)],
    ids=["simple-restart", "forking-crash", "ours-crash"],
)
def test_the_database_restarts_under_load(
    processes: Processes, database: PostgresServer, kind: Kind, by: signal.Signals
) -> None:
    # No lease expires within the test: what was in hand is given back as soon as the database is there.
    processes.settings["LEASE"] = "60s"
    processes.clock()
    processes.worker(kind=kind)
    processes.worker(kind=kind)
    start_chains(40, ms=5)

    def restart() -> None:
        connection.close()
        database.restart(by)

    disturb(restart, times=2)
    wait_for_all(processes)
    assert crashes() == 0
    assert_recorded_once()


@only_postgres
def test_an_outage_longer_than_a_lease_costs_no_crash(processes: Processes, database: PostgresServer) -> None:
    processes.clock()
    processes.worker()
    start_chains(40, ms=5)
    wait_until(lambda: recorded() > 5, what="some steps")
    connection.close()
    database.stop()
    threading.Event().wait(4)
    database.start()
    wait_for_all(processes)
    assert crashes() == 0
    assert_recorded_once()


@only_postgres
@pytest.mark.parametrize("kind", ["simple", "forking"])
def test_connections_are_ended_in_the_middle_again_and_again(processes: Processes, kind: Kind) -> None:
    processes.settings["LEASE"] = "60s"
    processes.clock()
    processes.worker(kind=kind)
    processes.worker(kind=kind)
    start_chains(60, ms=5)
    for _ in range(ROUNDS * 4):
        end_all_connections()
        if all_ended():
            break
    wait_for_all(processes)
    assert crashes() == 0
    assert_recorded_once()


def end_all_connections() -> None:
    """End every session of the database but ours, when the next step has been recorded."""
    before = recorded()
    wait_until(lambda: recorded() > before or all_ended(), what="one step more")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
