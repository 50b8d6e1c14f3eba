"""The handler call itself.

Deadline, async, and the transaction and session it must leave as it found them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync

from ..conf import get_settings
from ..context import StepContext
from ..definition.spec import StepSpec
from ..exceptions import LeaseLost
from ..models import StepRun
from ..registry import Handler
from .claim import Claim
from .deadline import DeadlinePassed, deadline
from .now import database_now
from .session_settings import keeping_settings
from .stand_ins import answer, has_stand_in
from .transactions import close_transactions, open_transactions, sparing_tests


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
    with sparing_tests(), keeping_settings():
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
