"""``python -m tests.servers.mariadb COMMAND…`` runs a command beside a private MariaDB, as for PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pymysql

from tests.servers.private_server import Missing, find_owner, main, own_folder, prepare, running

DATABASES = ("workflow", "workflow_other")


def find_program(*names: str) -> Path:
    """Return the first of ``names`` on the path, or where Debian keeps what only root is expected to run."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    raise Missing(f"no {names[0]} found (Debian: apt-get install mariadb-server)")


def serve() -> Iterator[Mapping[str, str]]:
    """Start a server, give the environment variables that lead to it, and stop it."""
    server, install = find_program("mariadbd"), find_program("mariadb-install-db", "mysql_install_db")
    owner = find_owner("mysql")
    with own_folder(owner) as folder:
        data, socket = folder / "data", folder / "socket"
        # A server that starts deletes what others have in a temporary folder that it shares with them.
        own = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}"]
        trusting = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        prepare([install, *own, *trusting], owner, folder)
        command = [server, *own, f"--socket={socket}", "--skip-networking"]
        is_ready = partial(_answers, socket)
        with running(command, owner, folder, is_ready=is_ready, stop=signal.SIGTERM):
            _create_databases(socket)
            yield {"WORKFLOW_TEST_DATABASE": "mariadb", "WORKFLOW_TEST_MARIADB_SOCKET": str(socket)}


def _answers(socket: Path) -> bool:
    try:
        pymysql.connect(unix_socket=str(socket), user="root").close()
    except pymysql.OperationalError:
        return False
    return True


def _create_databases(socket: Path) -> None:
    with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
        for name in DATABASES:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")


if __name__ == "__main__":
    sys.exit(main("mariadb", serve))
