"""Who executes a step, as rows tell it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from uuid import uuid4

# Two machines may have one host name, and their processes the same ids: containers on the host's network,
# clones. Forks keep it, so that a worker knows the names of the processes that it forked.
_FAMILY = uuid4().hex[:8]

_job: ContextVar[str] = ContextVar("_job", default="")


@cache
def _host() -> str:
    return socket.gethostname()[:200]


def worker_name(pid: int | None = None) -> str:
    """Return the name that a step run keeps of who executes it: host, a random part, and process.

    With ``pid`` it is the name of that process, which this one has forked.
    """
    return f"{_host()}:{_FAMILY}:{os.getpid() if pid is None else pid}"


def job_id() -> str:
    """Return the id of the RQ job that this process executes steps for; an empty text where it has none."""
    return _job.get()


@contextmanager
def executing_job(id: str) -> Iterator[None]:
    """Let the steps that the body claims keep the id of the RQ job that it is."""
    token = _job.set(id)
    try:
        yield
    finally:
        _job.reset(token)
