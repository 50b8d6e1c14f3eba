"""Virtual environments with each supported Django, on each Python found here.

Pythons are looked for on the path and among pyenv's versions. The environments are in ``.venvs``, made anew
when pyproject.toml is newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DJANGOS = {
    "5.2": ("3.11", "3.12", "3.13"),
    "6.0": ("3.12", "3.13"),
    "6.1": ("3.12", "3.13"),
}


class Missing(Exception):
    """There is no such Python here; the message names it."""


def prepare(django: str, version: str) -> Path:
    """Return the Python of an environment with the package, its test tools and that Django.

    Raises :class:`Missing` without such a Python, and ``subprocess.CalledProcessError`` where an installation
    fails.
    """
    folder = ROOT / ".venvs" / f"django{django}-python{version}"
    inside, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return inside
    subprocess.run([find_python(version), "-m", "venv", "--clear", folder], check=True)
    pip = [inside, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "--editable", ".", "--group", "test", f"Django=={django}.*"], cwd=ROOT, check=True)
    stamp.touch()
    return inside


def find_python(version: str) -> Path:
    """Return a working Python of that version. Raises :class:`Missing`."""
    for path in _candidates(version):
        if _is_version(path, version):
            return path
    raise Missing(f"no Python {version} found")


def _candidates(version: str) -> Iterator[Path]:
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    patches = (pyenv / "versions").glob(f"{version}.*/bin/python")
    yield from sorted(
        patches, key=lambda path: [int(part) for part in path.parts[-3].split(".") if part.isdigit()]
    )


def _is_version(python: Path, version: str) -> bool:
    # pyenv puts a python3.13 on the path that refuses to run unless that version is switched on.
    code = "import sys, ensurepip; sys.stdout.write('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout == version
