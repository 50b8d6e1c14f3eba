"""Two threads that meet: one is stopped before a given statement of its own, until the other cannot go on."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import connections

from tests.support.runs import in_threads

Act = Callable[[], object]
# Each eighth statement is tried, from another on each time; in the long form all of them, by 1.
STRIDE = int(os.environ.get("WORKFLOW_TEST_STRIDE", "8"))
# In seconds: who takes longer waits for a lock of the one that was stopped.
PATIENCE = 0.3


class Meeting:
    """Lets one act stop before its statement number ``at``, while another is done."""

    def __init__(self, at: int) -> None:
        self._at, self._seen = at, 0
        self._is_there, self._other_is_over = threading.Event(), threading.Event()
        self.has_met = False

    def hold(self, one: Act, other: Act) -> None:
        """Do both, and raise what either raises."""
        in_threads(partial(self._do_one, one), partial(self._do_other, other))

    def _do_one(self, one: Act) -> None:
        try:
            with connections["default"].execute_wrapper(self._stop):
                one()
        finally:
            self._is_there.set()

    def _do_other(self, other: Act) -> None:
        self._is_there.wait(30)
        try:
            other()
        finally:
            self._other_is_over.set()

    def _stop(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self._seen += 1
        if self._seen == self._at:
            self.has_met = True
            self._is_there.set()
            self._other_is_over.wait(PATIENCE)
        return execute(sql, params, many, context)


def meetings() -> Iterator[Meeting]:
    """Yield one meeting after the other, each at a later statement, until the last was at none."""
    at = random.randint(1, STRIDE)
    while True:
        meeting = Meeting(at)
        yield meeting
        if not meeting.has_met:
            return
        at += STRIDE
