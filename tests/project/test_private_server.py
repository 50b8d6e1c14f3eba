"""The private servers of the tests start, serve, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.postgres import find_programs
from tests.support.missing import skip_where_missing

ROOT = Path(__file__).parent.parent.parent
SAY_FOLDER = "import os; print(os.environ['WORKFLOW_TEST_PGHOST'], flush=True)"
pytestmark = pytest.mark.one_database


@pytest.fixture(autouse=True)
def postgres() -> None:
    with skip_where_missing():
        find_programs()


def start(code: str) -> subprocess.Popen[str]:
    command: Sequence[str] = [sys.executable, "-m", "tests.servers.postgres", sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_exit_code_is_the_commands_and_nothing_is_left() -> None:
    with start(f"{SAY_FOLDER}; raise SystemExit(7)") as process:
        output, _ = process.communicate()
    assert process.returncode == 7
    assert not Path(output.strip()).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_and_the_server(number: signal.Signals) -> None:
    with start(f"{SAY_FOLDER}; import time; time.sleep(600)") as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_server_says_so_and_fails_only_in_ci(ci: str, code: int) -> None:
    hidden = (
        "import sys; from tests.servers import private_server as p\n"
        "def none():\n    raise p.Missing('no server')\n    yield\n"
        "sys.argv[1:] = ['true']; sys.exit(p.main('postgres', none))"
    )
    command = [sys.executable, "-c", hidden]
    environment = {**os.environ, "CI": ci}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "tests.servers.postgres: not run: no server\n")
