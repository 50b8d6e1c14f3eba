"""The pages on a site of django-unfold's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.one_database
def test_every_page_works_with_unfold() -> None:
    pytest.importorskip("unfold")
    command = [sys.executable, "-m", "tests.support.unfold_pages"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
