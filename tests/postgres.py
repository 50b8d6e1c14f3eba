"""``python -m tests.postgres COMMAND…`` runs a command beside a private PostgreSQL.

The command finds it by the environment variables WORKFLOW_TEST_*. Needs no root, though it works as root;
opens no port; leaves nothing behind. Where PostgreSQL is not installed it says so and runs nothing: an exit
code of 0, or of 1 with ``CI=true``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from .private_server import Missing, find_owner, main, own_folder, prepare, running

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


def serve() -> Iterator[Mapping[str, str]]:
    """Start a server, give the environment variables that lead to it, and stop it."""
    programs, owner = find_programs(), find_owner("postgres")
    with own_folder(owner) as folder:
        data = folder / "data"
        trusting = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        prepare([programs / "initdb", "--pgdata", data, *trusting], owner, folder)
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        is_ready = partial(_answers, programs / "pg_isready", folder)
        # SIGINT is PostgreSQL's fast shutdown: open sessions are ended.
        with running(command, owner, folder, is_ready=is_ready, stop=signal.SIGINT):
            for name in DATABASES:
                prepare([programs / "createdb", "-h", folder, "-U", "postgres", name], owner, folder)
            yield {"WORKFLOW_TEST_DATABASE": "postgres", "WORKFLOW_TEST_PGHOST": str(folder)}


def _answers(pg_isready: Path, folder: Path) -> bool:
    return subprocess.run([pg_isready, "-q", "-h", folder], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main("postgres", serve))
