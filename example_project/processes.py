"""The processes of ``manage.py demo_rq``: workers and a clock, as a supervisor would start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
# How long a process may take to finish its step, in seconds.
STOP_SECONDS = 5


class Process:
    """One ``manage.py`` command. Ctrl-C in the terminal does not reach it."""

    def __init__(self, name: str, *arguments: str, log: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.command = f"manage.py {' '.join(arguments)}"
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, str(MANAGE), *arguments],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._child.poll() is None

    def freeze(self) -> None:
        """Stop the process and those it forked where they are, so that they can be looked at."""
        # The worker first, or it could fork once more.
        self._child.send_signal(signal.SIGSTOP)
        self._send(signal.SIGSTOP)
        # A signal takes a moment to arrive.
        time.sleep(0.05)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End the process and those it forked at once, by SIGKILL, as the loss of a machine does."""
        self._child.send_signal(signal.SIGSTOP)
        self._send(signal.SIGKILL)
        self._child.wait()

    def _send(self, number: signal.Signals) -> None:
        for pid in (*_children_of(self.pid), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def ask_to_end(self) -> None:
        """Send SIGTERM: the step under way is finished first."""
        self._child.terminate()

    def stop(self) -> None:
        """See to it that the process ends."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_SECONDS)
        if self.is_alive:
            self.kill()


class Processes:
    """Everything that was started; at the end of the block it is gone, however that ends."""

    def __init__(self, log: Path, variables: Mapping[str, str]) -> None:
        self.log = log
        self._variables = variables
        self._all: list[Process] = []
        self._owners: dict[int, Process] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for process in self._all:
                stack.callback(process.stop)
            for process in self._all:
                process.ask_to_end()

    def start(self, name: str, *arguments: str) -> Process:
        """Start ``manage.py`` with these arguments."""
        process = Process(name, *arguments, log=self.log, variables=self._variables)
        self._all.append(process)
        return process

    def owner_of(self, pid: int) -> Process | None:
        """Return the process that ``pid`` is, or was forked by; None when it was not seen alive."""
        if pid not in self._owners:
            self._owners.update({process.pid: process for process in self._all})
            for process in self._all:
                self._owners.update(dict.fromkeys(_children_of(process.pid), process))
        return self._owners.get(pid)


def _children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [int(child) for child, parent in rows if int(parent) == pid]
