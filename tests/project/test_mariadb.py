"""MariaDB is second class: the app migrates there, and what this file tries works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.mariadb import find_program
from tests.servers.private_server import Missing, is_ci

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.one_database


def require_mariadb() -> None:
    try:
        find_program("mariadbd")
    except Missing as reason:
        if is_ci():
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def test_app_migrates_on_mariadb() -> None:
    require_mariadb()
    migrate = [sys.executable, "-m", "django", "migrate", "--settings", "tests.settings", "--run-syncdb"]
    command = [sys.executable, "-m", "tests.servers.mariadb", *migrate]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Creating table testapp_order" in done.stdout
