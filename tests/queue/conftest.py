"""Every test of the queue has a Redis that is up, and empty at its start."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def redis_is_empty(empty_redis: None) -> None:
    """Start with an empty Redis."""
