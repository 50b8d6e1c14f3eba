"""Real workers and clocks for the tests: started, stopped and killed, and always gone at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from django.db import DatabaseError, connections

ROOT = Path(__file__).parent.parent.parent
Kind = Literal["simple", "forking", "ours"]
CLASSES: Mapping[Kind, str] = {
    "simple": "rq.SimpleWorker",
    "forking": "rq.Worker",
    "ours": "django_workflow.worker.Worker",
}
# Short, so that what a killed process held is soon free again.
SETTINGS: Mapping[str, Any] = {"QUEUE": "default", "LEASE": "3s"}
T = TypeVar("T")


# In seconds; how long a machine that has much else to do may take for what takes a moment.
PATIENCE = 120


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE, *, what: str = "") -> T:
    """Ask again and again, and return the first answer that is true.

    An answer that the database is away is a false one.
    """
    deadline = time.monotonic() + seconds
    while True:
        if answer := _ask(condition):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.05)


def _ask(condition: Callable[[], T]) -> T | None:
    try:
        return condition()
    except DatabaseError:
        connections.close_all()
        return None


class Process:
    """One process that leads a session of its own, so that its children are found when it is dead."""

    def __init__(self, name: str, command: Sequence[str], log: Path, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._settings = settings
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "WORKFLOW_TEST_SETTINGS": json.dumps({**SETTINGS, **self._settings}),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id, which is its session's too."""
        return self._child.pid

    @property
    def code(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._child.poll()

    @property
    def output(self) -> str:
        """Return what it and its children have written until now."""
        return self.log.read_text(errors="replace")

    def horse(self) -> int:
        """Return the child that works on a job: a fork, so its command line is the worker's."""
        return wait_until(lambda: _family(self.pid, "rqworker") - {self.pid}, what="a horse").pop()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._child.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        for pid in _family(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill the process alone, by SIGKILL."""
        self._child.kill()
        self._child.wait()

    def kill_all(self) -> None:
        """Kill the process and its children."""
        while _family(self.pid):
            # Frozen first, or the parent could start another child meanwhile.
            self.send_all(signal.SIGSTOP)
            self.send_all(signal.SIGKILL)
            self._child.poll()
        self._child.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        """Ask it to end, as a deploy does, and return its exit code."""
        self.send(signal.SIGTERM)
        return self._child.wait(seconds)

    def start_again(self) -> None:
        """Start it anew where it has ended, as a supervisor does."""
        if self.code is not None:
            self._child = self._start()


def _family(leader: int, command: str = "") -> set[int]:
    """Return the living processes of a session and its leader's children elsewhere, by their command."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
    alive = [(int(row[0]), int(row[1])) for row in rows if row[2][0] != "Z" and command in row[-1]]
    return {pid for pid, parent in alive if parent == leader or _session_of(pid) == leader}


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


class Processes:
    """The processes of one test. Settings given here are theirs in common."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = settings
        self._all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()
        for process in self._all:
            sys.stdout.write(f"----- {process.name}, exit code {process.code}\n{process.output}\n")

    def __iter__(self) -> Iterator[Process]:
        return iter(self._all)

    def worker(self, *queues: str, kind: Kind = "simple", is_ready: bool = True, **settings: Any) -> Process:
        """Start ``manage.py rqworker``, and go on when it listens."""
        command = ["rqworker", *(queues or ("default",)), "--worker-class", CLASSES[kind]]
        process = self.manage(*command, name=f"{kind} worker", **settings)
        if is_ready:
            wait_until(lambda: "Listening" in process.output or process.code is not None, what="a worker")
        return process

    def clock(self, *, interval: float = 0.3, **settings: Any) -> Process:
        """Start ``manage.py workflow_clock``, and go on when it ticks."""
        process = self.manage("workflow_clock", "--interval", str(interval), name="clock", **settings)
        wait_until(lambda: "ticks" in process.output or process.code is not None, what="a clock")
        return process

    def manage(self, *arguments: str, name: str, **settings: Any) -> Process:
        """Start a management command."""
        command = [sys.executable, "-m", "django", *arguments]
        log = self.folder / f"process-{len(self._all)}.log"
        process = Process(name, command, log, {**self.settings, **settings})
        self._all.append(process)
        return process

    def kill_all(self) -> None:
        """Kill every process that was started, and the children of each."""
        for process in self._all:
            process.kill_all()

    def revive(self) -> None:
        """Start anew those that have ended, as a supervisor does."""
        for process in self._all:
            process.start_again()

    @property
    def output(self) -> str:
        """Return what all have written."""
        return "\n".join(process.output for process in self._all)
