"""Who executes a step, as rows tell it."""

from __future__ import annotations

import os
import socket
from functools import cache


@cache
def _host() -> str:
    return socket.gethostname()[:200]


def worker_name() -> str:
    """Return the name that a step run keeps of who executes it: host and process."""
    return f"{_host()}:{os.getpid()}"
