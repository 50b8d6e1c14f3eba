"""The line to one Redis, for callers that must not wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq.connections import get_connection_kwargs

from .elapsed import is_recent

logger = logging.getLogger("django_workflow")

Answer = TypeVar("Answer")

# All in seconds. A trigger() must return at once, whatever became of Redis: it waits at most so long for it,
PATIENCE = 1.0
# and then nobody in this process tries again before so long.
PAUSE = 3.0
# What redis-py waits where a project says nothing; what a project says is left as it is.
DEFAULT_TIMEOUTS = {
    name: signature(Redis.__init__).parameters[name].default
    for name in ("socket_connect_timeout", "socket_timeout")
}


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """One Redis, and whether it answers. In an outage one thread tries again now and then, the others do not.

    ``tried_at`` is a moment of the monotonic clock.
    """

    connection: Redis
    is_down: bool = False
    tried_at: float = 0.0

    def ask(self, question: Callable[[], Answer], otherwise: Answer) -> Answer:
        """Return what ``question`` finds in Redis, or ``otherwise`` during an outage."""
        if self.is_down:
            if is_recent(self.tried_at, PAUSE):
                return otherwise
            self.tried_at = time.monotonic()
        try:
            answer = question()
        except (RedisError, OSError) as error:
            self._note_outage(error)
            return otherwise
        if self.is_down:
            self.is_down = False
            logger.info("Redis answers again.")
        return answer

    def _note_outage(self, error: Exception) -> None:
        if not self.is_down:
            text = "Redis does not answer, so no worker is rung for; the clock does it later: %s: %s"
            logger.error(text, type(error).__name__, error)
        self.is_down, self.tried_at = True, time.monotonic()


def hasten(connection: Redis) -> Redis:
    """Return the connection with timeouts so short that a caller can wait, and without further tries."""
    pool = connection.connection_pool
    sentinels = getattr(pool, "sentinel_manager", None)
    if sentinels is not None:
        for each in sentinels.sentinels:
            _shorten(each.connection_pool.connection_kwargs)
        _shorten(pool.connection_kwargs)
        return connection
    # A pool of its own: the cache's may have been lent to us.
    options = get_connection_kwargs(connection)
    _shorten(options)
    return type(connection)(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def _shorten(options: dict[str, Any]) -> None:
    for name, default in DEFAULT_TIMEOUTS.items():
        if options.get(name) in (None, default):
            options[name] = PATIENCE
    options["retry"] = Retry(NoBackoff(), 0)
