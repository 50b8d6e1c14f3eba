"""A database server of our own for the length of one command: in a temporary folder, reached by a socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

START_SECONDS = 60
STOP_SECONDS = 30
INTERRUPT_SECONDS = 10


class Missing(Exception):
    """The server is not installed; the message says what to install."""


def is_ci() -> bool:
    """Return whether a missing server is a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def find_owner(*names: str) -> str | None:
    """Return whom to run a server as: None for ourselves; for root, the first of ``names`` that exists."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*names, "nobody") if name in known)


@contextmanager
def own_folder(owner: str | None, *, at: Path | None = None) -> Iterator[Path]:
    """Give a new folder that only ``owner`` may enter, and remove it at the end."""
    if at is None:
        # A socket's path may have about 100 characters; some systems' temporary folders use most of them.
        crowded = len(tempfile.gettempdir()) > 60
        folder = Path(tempfile.mkdtemp(prefix="workflow-server-", dir="/tmp" if crowded else None))
    else:
        folder = at
        folder.mkdir(mode=0o700)
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(command: Sequence[str | Path], owner: str | None, folder: Path) -> None:
    """Run a set-up command as ``owner``; what it says is shown only when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **_run_as(owner),
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stdout}")


@contextmanager
def running(
    command: Sequence[str | Path],
    owner: str | None,
    folder: Path,
    *,
    is_ready: Callable[[], bool],
    stop: signal.Signals,
) -> Iterator[None]:
    """Run a server as ``owner`` from when it is ready until the block ends, however it ends."""
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*_dying_with_us(stop), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, which still need their server
            **_run_as(owner),
        )
    try:
        _wait_until_ready(server, log, is_ready)
        yield
    finally:
        _stop(server, stop)


def _dying_with_us(by: signal.Signals) -> list[str]:
    """Return what to put before a command whose process is to get this signal when ours dies."""
    setpriv = shutil.which("setpriv")  # of util-linux: elsewhere only a SIGKILL leaves the server behind
    return [setpriv, "--pdeathsig", by.name.removeprefix("SIG"), "--"] if setpriv else []


def _wait_until_ready(server: subprocess.Popen[bytes], log: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.args[0]} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def _stop(server: subprocess.Popen[bytes], by: signal.Signals) -> None:
    server.send_signal(by)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _run_as(owner: str | None) -> dict[str, object]:
    if owner is None:
        return {}
    return {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []}


def run_command(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run ``command`` with these environment variables added and return its exit code."""
    child = subprocess.Popen(command, env={**os.environ, **variables})
    try:
        return child.wait()
    except KeyboardInterrupt:
        # Ctrl-C in a terminal reached the child too: let it end in its own way.
        with suppress(subprocess.TimeoutExpired):
            child.wait(INTERRUPT_SECONDS)
        return 128 + signal.SIGINT
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def main(name: str, server: Callable[[], Iterator[Mapping[str, str]]]) -> int:
    """Run the command in ``sys.argv`` beside ``server`` and return its exit code.

    ``server`` is a context manager that gives environment variables, or raises :class:`Missing`.
    """
    command = sys.argv[1:]
    if not command:
        sys.stderr.write(f"usage: python -m tests.servers.{name} COMMAND…\n")
        return 2
    signal.signal(signal.SIGTERM, _leave)
    try:
        with contextmanager(server)() as variables:
            return run_command(command, variables)
    except Missing as reason:
        sys.stderr.write(f"tests.servers.{name}: not run: {reason}\n")
        return 1 if is_ci() else 0


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
