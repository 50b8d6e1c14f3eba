"""The Chromium of the tests: Debian's, so that no download of Playwright's own is needed."""

from __future__ import annotations

import os
import shutil

from tests.servers.private_server import Missing

# The first has no window to open, and takes half the time of the others.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)


def find_chromium() -> str:
    """Return its path: ``$CHROMIUM``, else the first on the path. Raises :class:`Missing`."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise Missing("no Chromium found (Debian: apt-get install chromium-headless-shell)")
    return found
