"""Every test of the queue has a Redis that is up, and empty at its start."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.servers.redis_server import RedisServer


@pytest.fixture(autouse=True)
def redis_is_empty(empty_redis: None) -> None:
    """Start with an empty Redis."""


@pytest.fixture(autouse=True)
def usual_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process, as it ends one that RQ forks, whatever a test before has left behind."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.connect() as connection:
        yield connection


def waiting(redis: Redis, queue: str = "default") -> list[str]:
    """Return the ids of the jobs that wait in a queue, in their order."""
    return [each.decode() for each in redis.lrange(f"rq:queue:{queue}", 0, -1)]
