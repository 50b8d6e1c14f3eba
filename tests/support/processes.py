"""Real workers and clocks for the tests: started, stopped and killed, and always gone at the end."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import django.__main__
from django.conf import settings as django_settings
from django.db import DatabaseError, connections

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


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.loaded"])


def _be(argv: Sequence[str], log: Path, settings: Mapping[str, Any]) -> None:
    """Be, in a forked process, the script that is called by ``argv``."""
    os.setsid()
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ["WORKFLOW_TEST_SETTINGS"] = json.dumps(settings)  # for processes of its own
    django_settings.DJANGO_WORKFLOW = dict(settings)
    sys.argv = list(argv)
    runpy.run_path(argv[0], run_name="__main__")


class Process:
    """One process that leads a session of its own, so that its children are found when it is dead.

    It is forked from one that has loaded Django and the app, which saves a second of computing each time.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.log = log
        self._called = (argv, log, {**SETTINGS, **settings})
        self._child = self._start()

    def _start(self) -> multiprocessing.process.BaseProcess:
        self.log.touch()
        child = _FORKS.Process(target=_be, args=self._called)
        child.start()
        return child

    @property
    def pid(self) -> int:
        """Return its process id, which is its session's too."""
        assert self._child.pid is not None
        return self._child.pid

    @property
    def code(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._child.exitcode

    @property
    def output(self) -> str:
        """Return what it and its children have written until now."""
        return self.log.read_text(errors="replace")

    def horse(self) -> int:
        """Return the child that works on a job: the one that is no clock."""
        return wait_until(lambda: _family(self.pid, but="workflow_clock") - {self.pid}, what="a horse").pop()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if self.code is None:
            os.kill(self.pid, number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        for pid in _family(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill the process alone, by SIGKILL."""
        self._child.kill()
        self._child.join()

    def kill_all(self) -> None:
        """Kill the process and its children."""
        while _family(self.pid):
            # Frozen first, or the parent could start another child meanwhile.
            self.send_all(signal.SIGSTOP)
            self.send_all(signal.SIGKILL)
        self._child.join()

    def stop(self, seconds: float = PATIENCE) -> int:
        """Ask it to end, as a deploy does, and return its exit code."""
        self.send(signal.SIGTERM)
        self._child.join(seconds)
        assert self.code is not None, f"it does not end within {seconds:g} s: {self.name}"
        return self.code

    def start_again(self) -> None:
        """Start it anew where it has ended, as a supervisor does."""
        if self.code is not None:
            self._child = self._start()


def _family(leader: int, *, but: str | None = None) -> set[int]:
    """Return the living processes of a session and its leader's children elsewhere.

    Those with ``but`` in their command line are left out.
    """
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
    alive = [(int(row[0]), int(row[1])) for row in rows if row[2][0] != "Z" and not (but and but in row[-1])]
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
        return self.run(django.__main__.__file__, *arguments, name=name, **settings)

    def run(self, script: str | Path, *arguments: str, name: str, **settings: Any) -> Process:
        """Start a script."""
        log = self.folder / f"process-{len(self._all)}.log"
        process = Process(name, [str(script), *arguments], log, {**self.settings, **settings})
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
