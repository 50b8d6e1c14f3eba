"""The job that a doorbell is: claim what is ready on a queue and drive it forward, for a slice of time.

And the job that goes on with a bulk action. Their dotted names and arguments are API between two releases on
one queue.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import FrameType
from uuid import UUID

from django.db import close_old_connections
from rq import get_current_job
from rq.job import Job
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker

from .conf import get_settings
from .dispatch import PREFIX, Bell, find_bell, ring, ring_for_bulk
from .engine import bulk, execute
from .engine.leases import allow_kill
from .engine.tick import has_ready
from .engine.who import executing_job

logger = logging.getLogger("django_workflow")

# All in seconds. Jobs that are no doorbells wait at most so long for the end of a slice.
SHORT_SLICE = 2.0
LOOK_EVERY = 1.0
# A forked process costs more than the wait for another doorbell.
LINGER = 0.1
# For so long a worker waits for a database that went away, to give back what it could not record.
PATIENCE = timedelta(minutes=10)
# How many jobs of the list are looked at.
HEAD = 20
# The release of Redis that has the command by which to wait.
BLOCKING_MOVE = (6, 2, 0)


def work(alias: str, queue: str) -> None:
    """Execute the ready steps of ``queue`` on the database ``alias``, and ring again for what is left.

    Returns normally whatever happens: the rows say what is to be done, and the clock rings for it.
    """
    close_old_connections()
    try:
        job = get_current_job()
        if job is not None:
            allow_kill()
        shift = Shift(alias=alias, queue=queue, bell=find_bell(queue), job=job)
        with executing_job("" if job is None else job.id), _ending_on_sigterm(shift):
            shift.work()
    except Exception:
        text = "Work on queue %r of database %r broke off; the clock rings for what is left."
        logger.exception(text, queue, alias)
    finally:
        close_old_connections()


def advance_bulk(alias: str, bulk_id: str) -> None:
    """Go on with a bulk action of the database ``alias`` for a moment, and then let other jobs go first.

    Returns normally whatever happens: the row says what is left, and the clock rings for it.
    """
    close_old_connections()
    try:
        if bulk.advance(alias, UUID(bulk_id), seconds=SHORT_SLICE):
            ring_for_bulk(alias, UUID(bulk_id))
    except Exception:
        text = "Bulk action %s of database %r broke off; the clock rings for what is left."
        logger.exception(text, bulk_id, alias)
    finally:
        close_old_connections()


@dataclass(slots=True, kw_only=True, eq=False)
class Shift:
    """The time of one doorbell: a slice, cut short where other jobs wait or the worker is to stop.

    ``began`` and ``look_at`` are moments of the monotonic clock.
    """

    alias: str
    queue: str
    bell: Bell | None
    job: Job | None
    began: float = field(default_factory=time.monotonic)
    look_at: float = 0.0
    is_cut_short: bool = False

    def work(self) -> None:
        """Drive what is ready, and what becomes ready in a moment, until the shift is over."""
        while True:
            execute.work(
                self.alias,
                queue=self.queue,
                seconds=self.left(),
                is_stopping=self.is_over,
                patience=PATIENCE,
            )
            if self.is_over():
                if has_ready(self.alias, self.queue):
                    ring(self.alias, self.queue)
                return
            if not self.lingers():
                return

    def left(self) -> float:
        """Return how many seconds of the slice are left."""
        return self.began + get_settings().SLICE.total_seconds() - time.monotonic()

    def is_over(self) -> bool:
        """Whether no further step may begin; asked for each step, it looks at Redis once a second."""
        now = time.monotonic()
        if self.bell is not None and now - max(self.look_at, self.began) >= LOOK_EVERY:
            self.look_at = now
            is_long = now - self.began >= SHORT_SLICE
            must_stop, others_wait = self.bell.line.ask(partial(self._look, self.bell), (False, False))
            self.is_cut_short = self.is_cut_short or must_stop or (is_long and others_wait)
        return self.is_cut_short or self.left() <= 0

    def _look(self, bell: Bell) -> tuple[bool, bool]:
        """Return whether the worker is to stop, and whether jobs that are no doorbells wait."""
        with bell.queue.connection.pipeline(transaction=False) as pipeline:
            pipeline.hget(self._worker_key(), "shutdown_requested_date")
            pipeline.exists(WORKERS_SUSPENDED)
            pipeline.lrange(bell.queue.key, 0, HEAD - 1)
            stop, suspended, waiting = pipeline.execute()
        return bool(stop or suspended), any(not each.startswith(PREFIX.encode()) for each in waiting)

    def lingers(self) -> bool:
        """Wait a moment for another doorbell like this one, and take it; whether there was one.

        Only in a forked process, which costs more than the wait, and whose worker has nothing else to do.
        """
        bell = self.bell
        if bell is None or not bell.line.ask(lambda: self._may_linger(bell), False):
            return False
        until = time.monotonic() + LINGER
        return bell.line.ask(lambda: self._take_next(bell, until), False)

    def _may_linger(self, bell: Bell) -> bool:
        """Whether this process was forked by a worker that serves this queue alone, and is not to stop."""
        if self.job is None or (self.job.redis_server_version or ()) < BLOCKING_MOVE:
            return False
        key = self._worker_key()
        pid, queues, stop = bell.queue.connection.hmget(key, "pid", "queues", "shutdown_requested_date")
        return pid not in (None, b"%d" % os.getpid()) and queues == self.queue.encode() and stop is None

    def _take_next(self, bell: Bell, until: float) -> bool:
        """Take the next job out of the list if it is a doorbell like this one, and comes in time.

        It is looked at by turning the list round by one, from its head to its head: a job that is not ours is
        never out of it, and cannot be lost.
        """
        redis, key = bell.queue.connection, bell.queue.key
        while (left := until - time.monotonic()) > 0:
            with redis.pipeline(transaction=False) as pipeline:
                pipeline.blmove(key, key, max(left, 0.01), "LEFT", "LEFT")  # type: ignore[arg-type]
                pipeline.get(bell.last_key(self.alias))
                first, last = pipeline.execute()
            if first is None or first != last:
                return False
            # Another worker may have been faster.
            if redis.lrem(key, 1, first):
                redis.delete(bell.queue.job_class.key_for(first.decode()))
                return True
        return False

    def _worker_key(self) -> str:
        name = None if self.job is None else self.job.worker_name
        return f"{BaseWorker.redis_worker_namespace_prefix}{name or ''}"


@contextmanager
def _ending_on_sigterm(shift: Shift) -> Iterator[None]:
    """End the shift at SIGTERM where it would end the process in the middle of a step: in a forked one.

    A worker's own process has a handler of its own, and tells by Redis.
    """

    def end_soon(number: int, frame: FrameType | None) -> None:
        shift.is_cut_short = True

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end_soon)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
