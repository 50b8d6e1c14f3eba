"""The loops: claim, execute round by round, and on to what follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError

from ..models import Run
from .async_round import More, execute_concurrently, is_in_loop
from .claim import BATCH, Claim, claim_concurrent, claim_due
from .driving import Waiting, join, loop
from .leases import hold, release
from .outage import NotRecorded, close, return_claims, return_token
from .recording import Keep, always
from .rounds import execute_round, next_round
from .sharing import is_slow
from .stopping import is_interrupt, noting_signals

logger = logging.getLogger("django_workflow")

AT_ONCE = timedelta(0)


class ClaimMore(Protocol):
    """Claims up to ``most`` more steps."""

    def __call__(self, *, most: int) -> list[Claim]: ...


def drive(using: str, run_id: UUID) -> bool:
    """Drive a run inline until nothing of it is due.

    Called by a handler, it joins the loop that goes on after the step; then it returns False.
    """
    if join(using, run_id):
        return False
    with loop() as waiting:
        waiting.append((using, run_id))
        _drain(waiting, always)
    return True


def work(
    using: str,
    *,
    queue: str | None = None,
    seconds: float | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
    patience: timedelta = AT_ONCE,
) -> int:
    """Claim and execute what is due, of ``queue`` where given, until nothing is or ``seconds`` are over.

    A step that has begun is finished when ``is_stopping`` comes true; what follows it is left ready. For
    ``patience`` it waits for a database that went away, to give back what it could not record.
    Returns how many step runs were claimed as due.
    """
    until = None if seconds is None else time.monotonic() + seconds

    def keep() -> bool:
        return not is_stopping() and (until is None or time.monotonic() < until)

    count = 0
    with loop() as waiting:
        while keep() and (claims := _claim(using, queue, patience)):
            count += len(claims)
            follow(claims, keep=keep, patience=patience, more=partial(claim_concurrent, using, queue=queue))
            _drain(waiting, keep)
    return count


def _claim(using: str, queue: str | None, patience: timedelta) -> list[Claim]:
    """Claim what is due; a connection that was closed meanwhile is opened again."""
    token = uuid4()
    try:
        return claim_due(using, queue=queue, most=BATCH, token=token)
    except (OperationalError, InterfaceError):
        close(using)
        return_token(using, token, patience=patience)
        return claim_due(using, queue=queue, most=BATCH)


def _drain(waiting: Waiting, keep: Keep) -> None:
    while waiting and keep():
        using, run_id = waiting.popleft()
        more = partial(claim_concurrent, using, run_id=run_id)
        while keep() and (claims := claim_due(using, run_id=run_id, most=BATCH)):
            if follow(claims, keep=keep, more=more).is_final:
                break


def claim_nothing(*, most: int) -> list[Claim]:
    """Claim no more than was given."""
    return []


@noting_signals()
def follow(
    claims: Sequence[Claim],
    *,
    keep: Keep = always,
    patience: timedelta = AT_ONCE,
    more: ClaimMore = claim_nothing,
) -> Run:
    """Execute claims and what this process keeps of what follows; return the last run as last recorded.

    ``more`` claims what may wait beside async handlers. What was not begun, or could not be recorded, is made
    ready again.
    """
    in_hand, last, has_crashed = list(claims), claims[-1], False
    for claim in in_hand:
        hold(claim.lease)
    take_more = partial(_take_more, in_hand, keep, more)
    is_begun = False
    try:
        while in_hand and not (is_begun and not keep()):
            is_begun, last = True, in_hand[0]
            in_hand[:] = _advance(in_hand, keep, take_more)
    except (NotRecorded, OperationalError, InterfaceError) as error:
        logger.warning("Steps could not be recorded, and are made ready again: %s", error.__cause__ or error)
    except Exception:
        # A fault of ours: what is in hand is taken up when its leases have expired, and counted.
        _release(in_hand)
        in_hand.clear()
        raise
    except BaseException as error:
        # Without a cost, a handler that raises SystemExit would be called again for ever.
        has_crashed = not is_interrupt(error)
        raise
    finally:
        _release(in_hand)
        if in_hand:
            return_claims(last.using, in_hand, patience=patience, has_crashed=has_crashed)
    return last.run


def _take_more(in_hand: list[Claim], keep: Keep, more: ClaimMore, most: int) -> list[Claim]:
    """Claim up to ``most`` more; they are in hand from now on."""
    taken = more(most=most) if most > 0 and keep() else []
    for claim in taken:
        hold(claim.lease)
    in_hand.extend(taken)
    return taken


def _advance(in_hand: list[Claim], keep: Keep, more: More) -> list[Claim]:
    """Execute one round and return what is in hand then."""
    kept = _give_back(list(in_hand), [claim for claim in in_hand if claim.lease.is_given_back])
    if not kept:
        return []
    if is_in_loop(kept[0]):
        in_loop = [claim for claim in kept if is_in_loop(claim)]
        execute_concurrently(in_loop, more=more)
        _release(in_loop)
        return [claim for claim in kept if claim not in set(in_loop)]
    together = next_round(kept)
    begun, following = execute_round(together, keep=keep)
    for claim in following:
        hold(claim.lease)
    done = set(together[:begun])
    _release(done)
    left = [claim for claim in kept if claim not in done]
    # Claimed as fast by a process that did not know the type yet: others may be idle.
    slow = [claim for claim in left if claim.in_batch and claim.handler and is_slow(claim.handler)]
    return [*_give_back(left, slow), *following]


def _give_back(claims: list[Claim], some: Sequence[Claim]) -> list[Claim]:
    """Give ``some`` of the claims back, and return the others."""
    if not some:
        return claims
    _release(some)
    return_claims(some[0].using, some, patience=AT_ONCE)
    return [claim for claim in claims if claim not in set(some)]


def _release(claims: Iterable[Claim]) -> None:
    for claim in claims:
        release(claim.lease)
