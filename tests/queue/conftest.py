"""A real Redis for the tests of the queue, empty at the start of each, and the processes of one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from django_workflow import dispatch
from tests.servers.private_server import Missing, is_ci
from tests.servers.redis_server import RedisServer
from tests.servers.redis_server import redis_server as serve_redis
from tests.support.processes import SETTINGS, Processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes."""
    for item in items:
        if "processes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Return the server on the socket of the settings' queues."""
    try:
        with serve_redis(settings.REDIS_SOCKET) as server:
            yield server
    except Missing as reason:
        if is_ci():
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def empty_redis(redis_server: RedisServer) -> None:
    """Start Redis where the test before left it down, and empty it."""
    redis_server.start()
    redis_server.resume()
    redis_server.flush()
    # An outage in another test is remembered for seconds; here begins a new process, as it were.
    dispatch._begin_anew()


@pytest.fixture
def queued(settings: Any) -> None:
    """Let this process ring for its runs, as a web process does, instead of running them."""
    settings.DJANGO_WORKFLOW = dict(SETTINGS)


@pytest.fixture
def processes(
    transactional_db: None, redis_server: RedisServer, queued: None, tmp_path: Path
) -> Iterator[Processes]:
    """Return what starts workers and clocks; they are gone before the tables are emptied."""
    with Processes(tmp_path) as running:
        yield running
