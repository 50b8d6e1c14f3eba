"""The loop of a thread: the runs that it has yet to drive."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from ..conf import get_settings
from ..dispatch import ring_after_commit
from ..models import StepRun
from ..status import StepStatus

Waiting = deque[tuple[str, UUID]]


class _Driving(threading.local):
    """The runs that this thread has yet to drive; None when no loop of it is going on."""

    runs: Waiting | None = None


_driving = _Driving()


@contextmanager
def loop() -> Iterator[Waiting]:
    """Be the thread's loop: what is to be driven meanwhile is found in the deque that this gives."""
    earlier, _driving.runs = _driving.runs, deque()
    try:
        yield _driving.runs
    finally:
        _driving.runs = earlier


def join(using: str, run_id: UUID) -> bool:
    """Let the loop of this thread drive the run, too; return False where there is no loop."""
    if _driving.runs is None:
        return False
    _driving.runs.append((using, run_id))
    return True


def pass_on(using: str, run_ids: Iterable[UUID], rows: Iterable[StepRun]) -> None:
    """Once the transaction has committed, let the ready ``rows`` of runs be executed, by workers or the loop.

    For the engine itself, which is in a loop where steps run inline; clocks find what no loop has taken.
    """
    if get_settings().QUEUE is not None:
        queues = {row.queue for row in rows if row.status == StepStatus.PENDING and row.due_at is not None}
        ring_after_commit(using, queues)
        return
    driven = list(run_ids)

    def join_all() -> None:
        for run_id in driven:
            join(using, run_id)

    transaction.on_commit(join_all, using=using, robust=True)
