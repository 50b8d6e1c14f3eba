"""``python -m tests.matrix`` runs the tests on every supported Django on every Python found here, on SQLite.

Pythons are looked for on the path and among pyenv's versions. Each pair has a virtual environment in
``.venvs``, made anew when pyproject.toml is newer. What cannot be tried is named. Arguments go to pytest;
before them may stand ``--newer`` (each Django but the oldest, on the first Python found) or ``--newest``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
DJANGOS = {
    "5.2": ("3.11", "3.12", "3.13"),
    "6.0": ("3.12", "3.13"),
    "6.1": ("3.12", "3.13"),
}


NEWER, NEWEST = "--newer", "--newest"
# What pytest ends with where `-k` chooses no test.
NOTHING_CHOSEN = 5


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def find_python(version: str) -> Path | None:
    """Return a working Python of that version, or None."""
    works = (path for path in _candidates(version) if _is_version(path, version))
    return next(works, None)


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


def prepare(python: Path, version: str, django: str) -> Path:
    """Return the Python of an environment with the package, its test tools and that Django."""
    folder = ROOT / ".venvs" / f"django{django}-python{version}"
    inside, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return inside
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    pip = [inside, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "--editable", ".", "--group", "test", f"Django=={django}.*"], cwd=ROOT, check=True)
    stamp.touch()
    return inside


def run(version: str, django: str, arguments: Sequence[str]) -> str:
    """Run the tests on one pair and return how it went: passed, failed or skipped, and why."""
    python = find_python(version)
    if python is None:
        return f"skipped: no Python {version} here"
    try:
        inside = prepare(python, version, django)
    except subprocess.CalledProcessError as error:
        return f"failed: {error}"
    environment = {**os.environ, "WORKFLOW_TEST_DATABASE": "sqlite"}
    done = subprocess.run([inside, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False)
    if done.returncode == NOTHING_CHOSEN and "-k" in " ".join(arguments):
        return "passed: nothing of it was chosen"
    return "passed" if done.returncode == 0 else f"failed: pytest ended with {done.returncode}"


def choose(option: str) -> list[tuple[str, str]]:
    """Return which Django is to be tried on which Python."""
    if option not in (NEWER, NEWEST):
        return [(django, version) for django, versions in DJANGOS.items() for version in versions]
    djangos = list(DJANGOS)[1 if option == NEWER else -1 :]
    return [(django, next(filter(find_python, DJANGOS[django]), DJANGOS[django][0])) for django in djangos]


def main() -> int:
    option = sys.argv[1] if sys.argv[1:2] in ([NEWER], [NEWEST]) else ""
    results = {}
    for django, version in choose(option):
        pair = f"Django {django} on Python {version}"
        say(f"== {pair}")
        results[pair] = run(version, django, sys.argv[2 if option else 1 :])
    say("")
    for pair, result in results.items():
        say(f"{pair}: {result}")
    if any(result.startswith("failed") for result in results.values()):
        return 1
    return int(not option and "passed" not in results.values())


if __name__ == "__main__":
    sys.exit(main())
