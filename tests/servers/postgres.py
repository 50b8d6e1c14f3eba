"""``python -m tests.servers.postgres COMMAND…`` runs a command beside a private PostgreSQL.

The command finds it by the environment variables WORKFLOW_TEST_*. Needs no root, though it works as root;
opens no port; leaves nothing behind. Where PostgreSQL is not installed it says so and runs nothing: an exit
code of 0, or of 1 with ``CI=true``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.servers.private_server import STOP_SECONDS, Missing, find_owner, main, own_folder, prepare, running

DATABASES = ("workflow", "workflow_other")


def find_programs() -> Path:
    """Return the folder with the newest PostgreSQL's programs."""
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if debian:
        return max(debian, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise Missing("no PostgreSQL server found (Debian: apt-get install postgresql)")
    return Path(found).resolve().parent


class PostgresServer:
    """The server whose socket and data are in ``folder``.

    Where it is not ``is_durable``, a crash of the machine may damage its data; one of the server does not.
    """

    def __init__(self, folder: Path, *, is_durable: bool = True) -> None:
        self.folder = folder
        self.is_durable = is_durable
        self._pid_file = folder / "data" / "postmaster.pid"
        self._running = ExitStack()

    def start(self) -> None:
        """Start it where it does not run, and go on when it answers."""
        if self._pid_file.exists():
            return
        programs, owner = find_programs(), find_owner("postgres")
        command = [programs / "postgres", "-D", self.folder / "data", "-k", self.folder]
        command += ["-c", "listen_addresses="]
        if not self.is_durable:
            command += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        is_ready = partial(_answers, programs / "pg_isready", self.folder)
        self._running.enter_context(
            running(list(map(str, command)), owner, self.folder, is_ready=is_ready, stop=signal.SIGINT)
        )

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it, whoever started it: fast, open sessions are ended; by SIGQUIT as after a crash."""
        if self._pid_file.exists():
            os.kill(int(self._pid_file.read_text().split()[0]), by)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._running.close()

    def restart(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it and start it again."""
        self.stop(by)
        self.start()


@contextmanager
def postgres_server(folder: Path, *, is_durable: bool = True) -> Iterator[PostgresServer]:
    """Make a server in ``folder`` and run it. Raises :class:`Missing` where none is installed."""
    programs, owner = find_programs(), find_owner("postgres")
    trusting = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    prepare([programs / "initdb", "--pgdata", folder / "data", *trusting], owner, folder)
    server = PostgresServer(folder, is_durable=is_durable)
    try:
        server.start()
        yield server
    finally:
        # Also the one that a test started and could not stop.
        server.stop()


def serve() -> Iterator[Mapping[str, str]]:
    """Start a server, give the environment variables that lead to it, and stop it."""
    owner = find_owner("postgres")
    with own_folder(owner) as folder, postgres_server(folder):
        for name in DATABASES:
            prepare([find_programs() / "createdb", "-h", folder, "-U", "postgres", name], owner, folder)
        yield {"WORKFLOW_TEST_DATABASE": "postgres", "WORKFLOW_TEST_PGHOST": str(folder)}


def _answers(pg_isready: Path, folder: Path) -> bool:
    return subprocess.run([pg_isready, "-q", "-h", folder], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main("postgres", serve))
