"""Async handlers that wait beside one another in one event loop.

The loop has a thread of its own; all that reads or writes the database is done by the thread that claimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from ..conf import get_settings
from ..exceptions import LeaseLost, OutcomeError
from .attempt import Attempt, begin, close_call, judge, open_call, prepare, understand
from .call import Overdue, await_handler
from .claim import Claim
from .deadline import DeadlinePassed
from .gate import StaleClaim
from .leases import release
from .report import Report
from .safely import record_safely
from .session_settings import keeping_settings
from .sharing import is_concurrent
from .single import tell_lost, verdict
from .stand_ins import has_stand_in
from .transactions import Transactions, close_transactions, open_transactions, sparing_tests
from .waits import has_timed_out

# Claims, and holds, up to so many more steps of the kind.
More = Callable[[int], Sequence[Claim]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A handler that is about to be called, and the transactions that were open before.

    ``calls``: what is open, in the transaction of a ``TestCase``, for as long as only handlers write.
    """

    going: Attempt
    arguments: dict[str, Any]
    before: Transactions
    calls: ExitStack


def is_in_loop(claim: Claim) -> bool:
    """Return whether the claim is called beside others: it is async, and no crash has set it apart."""
    row = claim.step_run
    is_apart = row.solo or claim.run.ending or has_timed_out(row) or has_stand_in(row.step)
    return claim.in_batch and not is_apart and is_concurrent(claim.handler)


def execute_concurrently(claims: Sequence[Claim], *, more: More) -> None:
    """Call all at once, and one of ``more`` for each that has ended; each is recorded when it has ended.

    What follows them is left ready for anybody. Raises ``NotRecorded``.
    """
    async_to_sync(_call_all)(claims, more)


async def _call_all(claims: Sequence[Claim], more: More) -> None:
    under_way: set[asyncio.Task[None]] = set()
    calls = ExitStack()
    try:
        while True:
            for claim in claims:
                call = await sync_to_async(_open)(claim, calls)
                if call is not None:
                    under_way.add(asyncio.create_task(_follow(call)))
            if not under_way:
                return
            ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            claims = await sync_to_async(_claim)(more, get_settings().ASYNC_TOGETHER - len(under_way), calls)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await sync_to_async(calls.close)()


@contextmanager
def _between(calls: ExitStack) -> Iterator[None]:
    """Keep what the body writes in the transaction of a ``TestCase``, whichever call spoils it then.

    Savepoints of calls that overlap cannot be nested: all calls share one, from each body to the next. They
    share the settings of the database session, too.
    """
    calls.close()
    try:
        yield
    finally:
        calls.enter_context(sparing_tests())
        calls.enter_context(keeping_settings())


def _claim(more: More, most: int, calls: ExitStack) -> Sequence[Claim]:
    with _between(calls):
        return more(most)


def _open(claim: Claim, calls: ExitStack) -> _Call | None:
    """Prepare the call; None where the step is recorded without one."""
    with _between(calls):
        opened = _prepare(claim)
    if opened is None:
        return None
    going, arguments = opened
    return _Call(going=going, arguments=arguments, before=open_transactions(), calls=calls)


def _prepare(claim: Claim) -> tuple[Attempt, dict[str, Any]] | None:
    assert claim.handler is not None
    report = verdict(claim)
    if report is None:
        going = begin(claim, claim.handler)
        try:
            report = prepare(going)
            if report is None:
                return going, open_call(going)
        except LeaseLost:
            _lose(claim)
            return None
        except BaseException as error:
            report = judge(going, error)
    _record(claim, report)
    return None


async def _follow(call: _Call) -> None:
    """Wait for the handler's end and record it."""
    going, outcome = call.going, None
    error: BaseException | None = None
    try:
        outcome = await await_handler(going.handler, call.arguments, going.limit)
    except Overdue:
        error = DeadlinePassed()
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        error = cancelled
    except (SystemExit, GeneratorExit):
        raise  # The process, or this coroutine, ends.
    except BaseException as raised:
        error = raised
    await sync_to_async(_end)(call, outcome, error)


def _end(call: _Call, outcome: Any, error: BaseException | None) -> None:
    close_call(call.going)
    try:
        close_transactions(call.before)
    except OutcomeError as left_open:
        error = left_open
    with _between(call.calls):
        _conclude(call.going, outcome, error)


def _conclude(going: Attempt, outcome: Any, error: BaseException | None) -> None:
    claim = going.claim
    try:
        try:
            if error is not None:
                raise error
            report = understand(going, outcome)
        except BaseException as found:
            report = judge(going, found)
        if claim.lease.is_lost:
            raise LeaseLost
    except LeaseLost:
        _lose(claim)
    else:
        _record(claim, report)


def _record(claim: Claim, report: Report) -> None:
    try:
        record_safely(claim, report, keep=lambda: False)
    except StaleClaim:
        tell_lost(claim)
    release(claim.lease)


def _lose(claim: Claim) -> None:
    tell_lost(claim)
    release(claim.lease)
