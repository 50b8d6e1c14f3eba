"""Runs parts of the tests, some at once, and says how each of them went and how long it took."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import environments
from tests.browser.chromium import find_chromium
from tests.parts import Part
from tests.servers.postgres import find_programs
from tests.servers.private_server import Missing, is_ci
from tests.servers.redis_server import find_program

ROOT = Path(__file__).parent.parent
NOTHING_CHOSEN = 5  # what pytest ends with
SUMMARY = re.compile(r"^=+ short test summary info =+$", re.MULTILINE)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def find_servable(parts: Sequence[Part]) -> list[Part]:
    """Return the parts whose servers are installed; say of each server that is not how to get it.

    Without PostgreSQL the tests that start processes run on SQLite. Raises :class:`Missing` in continuous
    integration.
    """
    _is_found("workers and clocks", find_program)
    if any(part.is_postgres for part in parts) and not _is_found("PostgreSQL", find_programs):
        parts = [part.with_processes() for part in parts if not part.is_postgres]
    if any(part.is_browser for part in parts) and not _is_found("the pages in a browser", find_chromium):
        parts = [part for part in parts if not part.is_browser]
    return list(parts)


def _is_found(what: str, find: Callable[[], Any]) -> bool:
    try:
        find()
    except Missing as reason:
        say(f"Not tested: {what}: {reason}")
        if is_ci():
            raise
        return False
    return True


def run_all(parts: Sequence[Part], *, at_once: int) -> int:
    """Run the parts, that many at once, and return an exit code."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        codes = list(pool.map(run, parts))
    say(f"{len(parts)} parts in {time.monotonic() - began:.0f} s: {'failed' if any(codes) else 'passed'}")
    return int(any(codes))


def run(part: Part) -> int:
    """Run one part and say how it went; all of its output only where it failed."""
    began = time.monotonic()
    try:
        python = environments.prepare(part.django, part.python) if part.django else Path(sys.executable)
    except environments.Missing as reason:
        say(f"== {part.name}: left out: {reason}")
        return 0
    command = [str(python), "-m", "pytest", *part.arguments]
    if part.workers:
        command += ["-n", str(part.workers), "--dist", "loadgroup"]
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **part.variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
        output.seek(0)
        shown = output.read()
    how = {0: "passed", NOTHING_CHOSEN: "nothing chosen"}.get(code, "failed")
    if how == "passed":
        found = SUMMARY.search(shown)
        shown = shown[found.start() :] if found else shown.splitlines()[-1]
    say(f"== {part.name}: {how} in {time.monotonic() - began:.0f} s")
    if how != "nothing chosen":
        say(shown.rstrip())
    return int(how == "failed")
