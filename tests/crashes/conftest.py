"""The step types of these tests."""

from __future__ import annotations

from tests.queue.conftest import empty_redis, processes, queued, redis_server  # noqa: F401
from tests.support import steps_for_tests  # noqa: F401 – registers them
