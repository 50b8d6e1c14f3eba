"""Recordings that a deadlock or a long lock undid are repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError

from .claim import Claim
from .moves import Erred
from .outage import is_lost
from .record import record
from .recording import Keep
from .report import Report, report_error
from .transactions import is_closed

Outcome = TypeVar("Outcome")


def record_safely(claim: Claim, report: Report, *, keep: Keep) -> Claim | None:
    """Record ``report``.

    What the database refuses because of its content is recorded as the step's failure.
    """
    try:
        return repeat(partial(record, claim, report, keep=keep), claim.using)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as error:
        if isinstance(report.result, Erred):
            raise
        return record(claim, report.conceal(report_error(error, report.params)), keep=keep)


def repeat(act: Callable[[], Outcome], using: str) -> Outcome:
    """Call ``act``, a whole transaction, again when it met a deadlock or a lock that took too long.

    Three times.
    """
    for left in reversed(range(4)):
        try:
            return act()
        except OperationalError as error:
            if not left or is_lost(using, error) or is_closed(using):
                raise
            time.sleep(random.uniform(0.01, 0.1))
    raise AssertionError
