"""MariaDB is second class: the app migrates there, and what this file tries works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.mariadb import find_program
from tests.support.missing import skip_where_missing

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.one_database


# A file of each kind of story: runs, joins, items, events, approvals, verbs, undo. The short form has one.
STORIES = (
    "tests/engine/test_inline.py",
    "tests/engine/test_for_each.py",
    "tests/flow/test_events.py",
    "tests/flow/test_undo.py",
    "tests/approvals/test_answers.py",
    "tests/verbs/test_skip.py",
)


def test_app_migrates_and_stories_are_told_on_mariadb() -> None:
    with skip_where_missing():
        find_program("mariadbd")
    command = [
        sys.executable,
        "-m",
        "tests.servers.mariadb",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        *(STORIES if os.environ.get("WORKFLOW_TEST_STORIES") == "all" else STORIES[2:3]),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
