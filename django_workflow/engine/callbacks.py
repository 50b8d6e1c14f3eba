"""What waits for a commit that a ``TestCase`` never makes: its callbacks, called by the test kit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

logger = logging.getLogger("django_workflow")


def is_of_test_case(connection: Any) -> bool:
    """Whether the open transaction is the one that Django's ``TestCase`` rolls back at its end."""
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[-1]._from_testcase


@contextmanager
def own_callbacks() -> Iterator[None]:
    """Keep apart what waited for a commit before the body."""
    earlier = {}
    for connection in connections.all(initialized_only=True):
        earlier[connection], connection.run_on_commit = connection.run_on_commit, []
    try:
        yield
    finally:
        for connection, callbacks in earlier.items():
            connection.run_on_commit = [*callbacks, *connection.run_on_commit]


def call_back() -> int:
    """Call what waits for the commit of a ``TestCase``, as after a commit; return how many there were.

    They are called once: what has been called waits no more.
    """
    count = 0
    for connection in connections.all(initialized_only=True):
        if is_of_test_case(connection):
            callbacks: list[Any] = connection.run_on_commit
            connection.run_on_commit = []
            count += len(callbacks)
            for _savepoints, callback, is_robust in callbacks:
                _call(callback, is_robust)
    return count


def _call(callback: Any, is_robust: bool) -> None:
    try:
        callback()
    except Exception:
        if not is_robust:
            raise
        logger.exception("A robust on_commit callback raised an error; Django goes on after that, too.")
