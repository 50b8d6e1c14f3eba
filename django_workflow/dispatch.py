"""The doorbell: an RQ job that makes a worker look for ready steps.

And the job that goes on with a bulk action, which waits in its queue behind whatever came before.

Redis carries an alias and a queue name, and nothing that could be lost: what a doorbell did not reach is rung
for by the clock.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import django_rq
from django.conf import settings
from django.db import transaction
from rq import Queue

from .conf import get_settings, snapshot
from .elapsed import is_recent
from .line import Line, hasten
from .process import remembered

logger = logging.getLogger("django_workflow")

# The dotted name and the arguments (alias, queue) are API between two releases on one queue.
DOORBELL = "django_workflow.jobs.work"
PREFIX = "workflow-doorbell-"
# The same, of a bulk action: its arguments are (alias, id).
BULK = "django_workflow.jobs.advance_bulk"
BULK_PREFIX = "workflow-bulk-"
DAY = 86400
RESULT_TTL = 60
# In seconds: how long people are told of an outage that nobody has met again.
SILENT = 60.0

# What RQ_QUEUES says of a queue, and not of the Redis it is in.
OF_THE_QUEUE = frozenset({"ASYNC", "DEFAULT_RESULT_TTL", "DEFAULT_TIMEOUT", "QUEUE_CLASS", "SERIALIZER"})


def ring(using: str, queue: str) -> None:
    """Ring for the ready steps of ``queue`` on the alias ``using``, unless a doorbell waits there already.

    Call it after the commit that made them ready. Where steps run inline nobody is rung for.
    Never raises: what goes wrong is logged, and the clock rings later.
    """
    if get_settings().QUEUE is None:
        return
    try:
        bell = find_bell(queue)
        if bell is not None:
            bell.ring(using)
    except Exception:
        # A project's own queue and job classes may raise anything, and the commit is done.
        logger.exception("Nobody was rung for queue %r; the clock does it later.", queue)


def ring_after_commit(using: str, queues: Iterable[str]) -> None:
    """Ring for each of ``queues`` once the transaction on ``using`` has committed, at once without one."""
    names = sorted(set(queues))
    if not names or get_settings().QUEUE is None:
        return

    def ring_all() -> None:
        for name in names:
            ring(using, name)

    transaction.on_commit(ring_all, using=using, robust=True)


def ring_for_bulk(using: str, bulk_id: UUID) -> None:
    """Ask a worker of the default queue to go on with a bulk action, unless that waits there already.

    Never raises, as ``ring``.
    """
    queue = get_settings().QUEUE
    if queue is None:
        return
    try:
        bell = find_bell(queue)
        if bell is not None:
            bell.ring_for_bulk(using, bulk_id)
    except Exception:
        logger.exception("Nobody was asked to go on with bulk action %s; the clock does it later.", bulk_id)


def ring_for_bulk_after_commit(using: str, bulk_id: UUID) -> None:
    """Ring for a bulk action once the transaction on ``using`` has committed, at once without one."""
    transaction.on_commit(lambda: ring_for_bulk(using, bulk_id), using=using, robust=True)


def is_redis_silent() -> bool:
    """Return whether a Redis did not answer when this process rang a moment ago; it is not asked anew."""
    with _lock:
        lines = list(_lines.values())
    return any(line.is_down and is_recent(line.tried_at, SILENT) for line in lines)


@dataclass(slots=True, kw_only=True, eq=False)
class Bell:
    """The doorbell of one queue. ``rung`` holds the ids that this process rang last, by ``name``."""

    queue: Queue
    line: Line
    config: Mapping[str, Any]
    rung: dict[str, str] = field(default_factory=dict)

    def ring(self, alias: str) -> None:
        """Ring unless a doorbell of ``alias`` waits in the queue's list."""
        job = partial(self._enqueue, alias, DOORBELL, (alias, self.queue.name), PREFIX)
        self.line.ask(lambda: self.waits(alias) or job(), True)

    def ring_for_bulk(self, alias: str, bulk_id: UUID) -> None:
        """The same for a bulk action of ``alias``."""
        name = f"{alias}:{bulk_id}"
        job = partial(self._enqueue, name, BULK, (alias, str(bulk_id)), BULK_PREFIX)
        self.line.ask(lambda: self.waits(name) or job(), True)

    def waits(self, name: str) -> bool:
        """Whether the id rung last, by this process or by any, is in the queue's list. Raises ``RedisError``.

        ``name`` is the alias, with the id of a bulk action where the job is for that. No answer means no: a
        second job does no harm. Hashes and statuses of jobs are never asked.
        """
        mine = self.rung.get(name, "")
        with self.queue.connection.pipeline(transaction=False) as pipeline:
            pipeline.get(self.last_key(name))
            if mine:
                pipeline.lpos(self.queue.key, mine)
            last, *place = pipeline.execute(raise_on_error=False)
            if place and isinstance(place[0], int):
                return True
            if not isinstance(last, bytes) or last == mine.encode():
                return False
            pipeline.lpos(self.queue.key, last.decode())
            return isinstance(pipeline.execute(raise_on_error=False)[0], int)

    def last_key(self, name: str) -> str:
        """Return the one key that keeps the id rung last for ``name`` in this queue."""
        return f"django_workflow:doorbell:{self.queue.name}:{name}"

    def _enqueue(self, name: str, function: str, arguments: tuple[str, str], prefix: str) -> bool:
        job_id = f"{prefix}{uuid4().hex}"
        with self.queue.connection.pipeline() as pipeline:
            self.queue.enqueue_call(
                function,
                args=arguments,
                timeout=-1,
                result_ttl=RESULT_TTL,
                failure_ttl=DAY,
                job_id=job_id,
                pipeline=pipeline,
            )
            pipeline.set(self.last_key(name), job_id, ex=DAY)
            pipeline.execute()
        self.rung[name] = job_id
        return True


_lock = threading.Lock()
_bells: dict[str, Bell] = remembered({})
_lines: dict[str, Line] = remembered({})
_troubles: set[str] = remembered(set())


def _begin_anew() -> None:
    """A forked process makes its own connections, and its lock may be held by a thread that it has not."""
    global _lock
    _lock = threading.Lock()
    _bells.clear()
    _lines.clear()


os.register_at_fork(after_in_child=_begin_anew)


def find_bell(queue: str) -> Bell | None:
    """Return the doorbell of a queue, made once a process; None, and once a log line, where there is none."""
    config = (getattr(settings, "RQ_QUEUES", None) or {}).get(queue)
    known = _bells.get(queue)
    if known is not None and known.config == config:
        return known
    if config is None:
        _say_once(queue, "it is not in RQ_QUEUES")
        return None
    with _lock:
        try:
            _bells[queue] = _make_bell(queue, config)
        except Exception as error:  # A project's own queue class may raise anything.
            _say_once(queue, f"what RQ_QUEUES says of it cannot be used: {type(error).__name__}: {error}")
            return None
        return _bells[queue]


def _say_once(queue: str, why: str) -> None:
    if queue not in _troubles:
        _troubles.add(queue)
        logger.error("Nobody can be rung for the steps of queue %r: %s.", queue, why)


def _make_bell(name: str, config: Mapping[str, Any]) -> Bell:
    where = repr(sorted((key, value) for key, value in config.items() if key not in OF_THE_QUEUE))
    line = _lines.get(where)
    if line is None:
        line = _lines[where] = Line(connection=hasten(django_rq.get_connection(name)))
    # A doorbell that ran in trigger() would be no doorbell: with ASYNC off it waits for a worker too.
    queue = django_rq.get_queue(name, is_async=True, commit_mode="auto", connection=line.connection)
    return Bell(queue=queue, line=line, config=snapshot(config))
