"""A worker that ticks the clock beside its jobs, so that a small site runs one process.

``manage.py rqworker --worker-class django_workflow.worker.Worker``. All is right with plain workers and a
``workflow_clock`` too; only that a step whose process was killed waits there until its lease has expired.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import rq
from django.conf import settings
from django.db import connections
from rq.job import Job
from rq.queue import Queue

from .engine.who import worker_name

logger = logging.getLogger("django_workflow")

# All in seconds. RQ's own are 30 and 600, and up to 405 for an idle worker to look up.
MONITORING_INTERVAL = 10
MAINTENANCE_INTERVAL = 30
LOOK_UP_EVERY = 5
# A clock that ends by itself is started again, but not more often than this.
RESTART_EVERY = 5.0
# How long a clock may take to end: to do what it was told last, and then at SIGTERM.
LAST_WORDS = 2.0
END_PATIENCE = 10.0


class Worker(rq.Worker):
    """RQ's forking worker, with a clock as a child process; it tells the clock whose work was killed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("job_monitoring_interval", MONITORING_INTERVAL)
        kwargs.setdefault("maintenance_interval", MAINTENANCE_INTERVAL)
        super().__init__(*args, **kwargs)
        # After a long outage of Redis RQ's own worker looks for it once a minute.
        self.max_connection_wait_time = LOOK_UP_EVERY
        self.clock = ClockBeside()

    @property
    def dequeue_timeout(self) -> int:
        """How long to wait for a job before looking whether the clock lives."""
        return min(LOOK_UP_EVERY, super().dequeue_timeout)

    @property
    def connection_timeout(self) -> int:
        """How long Redis may be silent: as with RQ's own worker."""
        return super().dequeue_timeout + 10

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Work as RQ's worker does, beside a clock."""
        self.clock.start()
        try:
            return super().work(*args, **kwargs)
        finally:
            self.clock.end()

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """Say that the worker lives, and see whether the clock does."""
        super().heartbeat(*args, **kwargs)
        self.clock.keep()

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork without a database connection, which two processes would spoil for each other."""
        connections.close_all()
        super().fork_work_horse(job, queue)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait for the forked process; if it was killed, what it held need not wait for its lease."""
        pid = self.horse_pid
        found = super().wait_for_horse()
        if pid and found[1] != os.EX_OK:
            self.clock.tell(f"died {worker_name(pid)}")
        return found


class ClockBeside:
    """The clock of one worker: a child process, because a process that forks must not use the ORM itself.

    It ends when the pipe to it does: with the worker, however that ends.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        # Moments of the monotonic clock.
        self._begun = self._told = float("-inf")

    def start(self) -> None:
        """Start the process."""
        self._owner, self._begun = os.getpid(), time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *_command(), "workflow_clock", "--beside-worker", "--skip-checks", "-v", "0"],
            stdin=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **_environment()},
            # Ctrl-C in the terminal is for the worker, which may have a job to finish.
            process_group=0,
        )
        _clocks.add(self)
        assert self._process.stdin is not None
        # A clock that does not listen must not stop the worker.
        os.set_blocking(self._process.stdin.fileno(), False)

    def keep(self) -> None:
        """Start the process again if it has ended."""
        process = self._process
        if process is None or self._owner != os.getpid() or process.poll() is None:
            return
        if time.monotonic() - self._begun >= RESTART_EVERY:
            text = "The clock beside the worker ended with %s, and is started again."
            logger.error(text, process.returncode)
            self.hang_up()
            self.start()

    def tell(self, line: str) -> None:
        """Send the clock a line; where it does not hear it, leases expire instead."""
        if self._process is not None and self._process.stdin is not None and self._owner == os.getpid():
            self._told = time.monotonic()
            with suppress(OSError, ValueError):
                self._process.stdin.write(f"{line}\n".encode())

    def end(self) -> None:
        """End the process; what it was told just before it does first."""
        process = self._process
        if process is None or self._owner != os.getpid():
            return
        self.hang_up()
        self._process = None
        _clocks.discard(self)
        just_told = time.monotonic() - self._told < LAST_WORDS
        if not just_told or not _has_ended(process, LAST_WORDS):
            process.terminate()
        if not _has_ended(process, END_PATIENCE):
            process.kill()
            process.wait()

    def hang_up(self) -> None:
        """Close this process's end of the pipe."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


_clocks: set[ClockBeside] = set()


def _hang_up_all() -> None:
    """A forked process that kept the pipe open would keep the clock from seeing the worker's end."""
    for clock in _clocks:
        clock.hang_up()


os.register_at_fork(after_in_child=_hang_up_all)


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def _command() -> list[str]:
    """Return what calls a management command as this one was called: a project's own script may do more."""
    script = Path(sys.argv[0])
    is_managing = (
        script.suffix == ".py" and script.stem != "__main__" and "".join(sys.argv[1:2]).startswith("rqworker")
    )
    return [str(script)] if is_managing else ["-P", "-m", "django"]


def _environment() -> dict[str, str]:
    """Return what lets a new interpreter find the project."""
    found = {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    module = getattr(settings, "SETTINGS_MODULE", None)
    return found if module is None else {**found, "DJANGO_SETTINGS_MODULE": module}
