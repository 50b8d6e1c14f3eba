"""The doorbell: an RQ job that makes a worker look for ready steps (ENGINE.md rules 23 to 25).

Redis carries an alias and a queue name, and nothing that could be lost: what a doorbell did not reach is rung
for by the clock.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import django_rq
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from rq import Queue

from .conf import get_settings
from .line import Line, hasten

logger = logging.getLogger("django_workflow")

# The dotted name and the arguments (alias, queue) are API between two releases on one queue.
DOORBELL = "django_workflow.jobs.work"
PREFIX = "workflow-doorbell-"
DAY = 86400
RESULT_TTL = 60

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


@dataclass(slots=True, kw_only=True, eq=False)
class Bell:
    """The doorbell of one queue. ``rung`` holds by alias the id that this process rang last."""

    queue: Queue
    line: Line
    config: Mapping[str, Any]
    rung: dict[str, str] = field(default_factory=dict)

    def ring(self, alias: str) -> None:
        """Ring unless a doorbell of ``alias`` waits in the queue's list."""
        self.line.ask(lambda: self.waits(alias) or self._enqueue(alias), True)

    def waits(self, alias: str) -> bool:
        """Whether the id rung last, by this process or by any, is in the queue's list. Raises ``RedisError``.

        No answer means no: a second doorbell does no harm. Hashes and statuses of jobs are never asked.
        """
        mine = self.rung.get(alias, "")
        with self.queue.connection.pipeline(transaction=False) as pipeline:
            pipeline.get(self.last_key(alias))
            if mine:
                pipeline.lpos(self.queue.key, mine)
            last, *place = pipeline.execute(raise_on_error=False)
            if place and isinstance(place[0], int):
                return True
            if not isinstance(last, bytes) or last == mine.encode():
                return False
            pipeline.lpos(self.queue.key, last.decode())
            return isinstance(pipeline.execute(raise_on_error=False)[0], int)

    def last_key(self, alias: str) -> str:
        """Return the one key that keeps the id rung last for ``alias`` in this queue."""
        return f"django_workflow:doorbell:{self.queue.name}:{alias}"

    def _enqueue(self, alias: str) -> bool:
        job_id = f"{PREFIX}{uuid4().hex}"
        with self.queue.connection.pipeline() as pipeline:
            self.queue.enqueue_call(
                DOORBELL,
                args=(alias, self.queue.name),
                timeout=-1,
                result_ttl=RESULT_TTL,
                failure_ttl=DAY,
                job_id=job_id,
                pipeline=pipeline,
            )
            pipeline.set(self.last_key(alias), job_id, ex=DAY)
            pipeline.execute()
        self.rung[alias] = job_id
        return True


_lock = threading.Lock()
_bells: dict[str, Bell] = {}
_lines: dict[str, Line] = {}
_troubles: set[str] = set()


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
    if known is not None and known.config is config:
        return known
    if config is None:
        _say_once(queue, "it is not in RQ_QUEUES")
        return None
    with _lock:
        try:
            _bells[queue] = _make_bell(queue, config)
        except (
            AttributeError,
            ImproperlyConfigured,
            ImportError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
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
    return Bell(queue=queue, line=line, config=config)
