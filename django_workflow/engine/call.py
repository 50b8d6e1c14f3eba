"""The handler call itself.

Deadline, async, and the transaction it must leave as it found it (ENGINE.md rules 10, 20, 28).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections

from ..conf import get_settings
from ..context import StepContext
from ..definition.spec import StepSpec
from ..exceptions import LeaseLost, OutcomeError
from ..models import StepRun
from ..registry import Handler
from .claim import Claim
from .deadline import DeadlinePassed, deadline
from .now import database_now
from .stand_ins import answer, has_stand_in

# How both of PostgreSQL's drivers number a transaction that is open, and one that an error has stopped.
_OPEN = (2, 3)

# By alias: autocommit, whether in an atomic block, and how deep.
Transactions = Mapping[str, tuple[bool, bool, int]]


def time_limit(spec: StepSpec, handler: Handler) -> timedelta | None:
    """Return how long an attempt may take: what the step says, else the handler, else the setting.

    None: no limit.
    """
    if spec.timeout is None or isinstance(spec.timeout, timedelta):
        return spec.timeout
    return handler.timeout or get_settings().TIMEOUT


def commit_start(claim: Claim, handler: Handler) -> None:
    """Commit, by token, that a handler which must not run twice begins now. Raises ``LeaseLost``."""
    row = claim.step_run
    if handler.rerun_after_crash or row.started_at is not None:
        return
    now = database_now(claim.using)
    if (
        not StepRun.objects.using(claim.using)
        .filter(pk=row.pk, lease_token=claim.token)
        .update(started_at=now)
    ):
        raise LeaseLost
    row.started_at = now


def call_handler(
    handler: Handler,
    arguments: Mapping[str, Any],
    limit: timedelta | None,
    context: StepContext | None = None,
) -> Any:
    """Call the handler, or what stands in for it in a test, and return its outcome.

    Raises what it raises, ``DeadlinePassed``, or ``OutcomeError``.
    """
    before = open_transactions()
    try:
        if context is not None and has_stand_in(context.step):
            with deadline(limit):
                return answer(context)
        if handler.is_async:
            return _call_async(handler, arguments, limit)
        with deadline(limit):
            return handler.function(**arguments)
    finally:
        close_transactions(before)


class Overdue(BaseException):
    """An async handler was past its deadline. ``DeadlinePassed`` itself would break the event loop."""


def _call_async(handler: Handler, arguments: Mapping[str, Any], limit: timedelta | None) -> Any:
    try:
        return async_to_sync(await_handler)(handler, arguments, limit)
    except Overdue:
        raise DeadlinePassed from None


async def await_handler(handler: Handler, arguments: Mapping[str, Any], limit: timedelta | None) -> Any:
    """Return the outcome of an async handler. Raises what it raises, or ``Overdue``."""
    timer = asyncio.timeout(None if limit is None else limit.total_seconds())
    try:
        async with timer:
            return await handler.function(**arguments)
    except TimeoutError:
        if timer.expired():
            raise Overdue from None
        raise


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
    raw = connection.connection
    status = getattr(getattr(raw, "info", None), "transaction_status", 0)
    return not connection.autocommit or bool(getattr(raw, "in_transaction", False)) or status in _OPEN
