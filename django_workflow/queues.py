"""What RQ says of a queue: for people and monitoring, never for a decision of the engine's."""

from __future__ import annotations

from dataclasses import dataclass

import django_rq
from redis.exceptions import RedisError
from rq import Queue, Worker

from .line import hasten


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A queue in Redis: who listens (``host:pid``), how many jobs wait; ``error`` where it cannot be seen.

    A worker that was killed counts as listening until RQ forgets it, after some minutes.
    """

    name: str
    workers: tuple[str, ...] = ()
    jobs: int = 0
    error: str = ""


def look_at_queue(name: str) -> QueueFacts:
    """Return what Redis knows of the queue ``name``, within a few seconds."""
    try:
        connection = hasten(django_rq.get_connection(name))
        queue: Queue = django_rq.get_queue(name, is_async=True, commit_mode="auto", connection=connection)
        workers = sorted(f"{worker.hostname}:{worker.pid}" for worker in Worker.all(queue=queue))
        return QueueFacts(name=name, workers=tuple(workers), jobs=queue.count)
    except (RedisError, OSError) as error:
        return QueueFacts(name=name, error=f"Redis does not answer: {error}")
    except KeyError:
        return QueueFacts(name=name, error="it is not in RQ_QUEUES")
    except Exception as error:  # A project's own queue class may raise anything.
        return QueueFacts(name=name, error=f"what RQ_QUEUES says of it cannot be used: {error}")
