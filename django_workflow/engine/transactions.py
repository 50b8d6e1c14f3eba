"""Open transactions and what waits for their commit: all that is edited here is private to Django.

Each release of Django may change it; a test of its own says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from django.db import connections, transaction

from ..exceptions import OutcomeError
from .stopping import is_interrupt

logger = logging.getLogger("django_workflow")

# How both of PostgreSQL's drivers number a transaction that is open, and one that an error has stopped.
_OPEN, _STOPPED = (2, 3), 3

# By alias: autocommit, whether in an atomic block, and how deep.
Transactions = Mapping[str, tuple[bool, bool, int]]


def _transaction_of(connection: Any) -> tuple[bool, bool, int]:
    return connection.autocommit, connection.in_atomic_block, len(connection.savepoint_ids)


def open_transactions() -> Transactions:
    """Return, by alias, in which transactions this thread's connections are."""
    return {each.alias: _transaction_of(each) for each in connections.all(initialized_only=True)}


def close_transactions(before: Transactions) -> None:
    """Roll back what a handler left open. Raises ``OutcomeError`` where it did."""
    left_open = [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None
        and _roll_back(connection, *before.get(connection.alias, (True, False, 0)))
    ]
    if left_open:
        raise OutcomeError(f"the handler left a transaction open on {left_open[0]!r}; it was rolled back.")


def _roll_back(connection: Any, autocommit: bool, in_atomic_block: bool, depth: int) -> bool:
    """Roll back what the handler left open; return whether it left anything."""
    if in_atomic_block:
        if not connection.in_atomic_block or len(connection.savepoint_ids) <= depth:
            return False
        savepoint = connection.savepoint_ids[depth]
        del connection.savepoint_ids[depth:], connection.atomic_blocks[depth + 1 :]
        connection.needs_rollback = False
        if savepoint is not None:
            connection.savepoint_rollback(savepoint)
        return True
    if not autocommit or not (connection.in_atomic_block or _is_open(connection)):
        return False
    connection.in_atomic_block = connection.needs_rollback = False
    del connection.savepoint_ids[:], connection.atomic_blocks[:]
    connection.rollback()
    connection.set_autocommit(True)
    return True


def _is_open(connection: Any) -> bool:
    """Whether a transaction is open, be it by a BEGIN of the handler's own."""
    is_begun = bool(getattr(connection.connection, "in_transaction", False))
    return not connection.autocommit or is_begun or _status(connection) in _OPEN


def _status(connection: Any) -> int:
    """Return what PostgreSQL's drivers say of the transaction; 0 of other databases."""
    status: int = getattr(getattr(connection.connection, "info", None), "transaction_status", 0)
    return status


def is_to_roll_back(connection: Any) -> bool:
    """Whether all that the open transaction can still do is to be rolled back."""
    return bool(connection.needs_rollback) or _status(connection) == _STOPPED


def is_closed(using: str) -> bool:
    """Return whether the handler has closed the connection inside a transaction."""
    return bool(connections[using].closed_in_transaction)


def count_callbacks(using: str) -> int:
    """Return how many callbacks wait for the commit."""
    return len(connections[using].run_on_commit)


def make_robust(
    using: str, since: int, *, around: Callable[[], AbstractContextManager[None]] = nullcontext
) -> None:
    """Let what the handler registered raise after the commit: that is logged, and not the step's.

    Each callback is called within ``around()``.
    """
    callbacks: list[Any] = connections[using].run_on_commit
    callbacks[since:] = [
        (savepoints, _made_robust(call, around), True) for savepoints, call, _robust in callbacks[since:]
    ]


def _made_robust(
    call: Callable[[], object], around: Callable[[], AbstractContextManager[None]]
) -> Callable[[], None]:
    """Django's own ``robust`` logs an Exception, and lets any other error through."""

    def call_and_log() -> None:
        try:
            with around():
                call()
        except BaseException as error:
            if isinstance(error, (Exception, SystemExit)) or is_interrupt(error):
                raise
            logger.exception("An on_commit callback of a step raised an error; its run continues.")

    return call_and_log


def is_of_test_case(connection: Any) -> bool:
    """Whether the open transaction is the one that Django's ``TestCase`` rolls back at its end."""
    blocks = connection.atomic_blocks
    return bool(blocks) and blocks[-1]._from_testcase


@contextmanager
def sparing_tests() -> Iterator[None]:
    """Let an error of the database in the body undo the body, and not the transaction of a ``TestCase``.

    Nothing else is undone, whatever the body raises. Without such a transaction this does nothing: each
    statement outside of an atomic block is then a transaction of its own.
    """
    with ExitStack() as until_over:
        for connection in connections.all(initialized_only=True):
            if is_of_test_case(connection):
                until_over.enter_context(_sparing(connection))
        yield


@contextmanager
def _sparing(connection: Any) -> Iterator[None]:
    block: Any = transaction.atomic(using=connection.alias)
    block._from_testcase = True
    block.__enter__()
    try:
        yield
    finally:
        if is_to_roll_back(connection):
            connection.needs_rollback = True
        block.__exit__(None, None, None)


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
        with sparing_tests():
            callback()
    except Exception:
        if not is_robust:
            raise
        logger.exception("A robust on_commit callback raised an error; Django goes on after that, too.")
