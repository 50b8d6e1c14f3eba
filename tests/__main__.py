"""``python -m tests`` runs the tests on SQLite, on PostgreSQL and in a browser, all at the same time.

``python -m tests ARGUMENT…`` gives these arguments to pytest, and is quick where they choose little.
``python -m tests --all [NAME…]`` runs the long form, or its parts of these names. With ``--minutes N``
it runs as many as fit, drawn by ``--seed S``; without one the seed is the commit.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parts import LONG, SHORT, Part
from tests.running import find_servable, run_all, say
from tests.servers.private_server import Missing

ROOT = Path(__file__).parent.parent


def narrow(parts: Sequence[Part], arguments: Sequence[str]) -> list[Part]:
    """Return the parts with these arguments for pytest; those whose tests are elsewhere are left out."""
    paths = [word.partition("::")[0] for word in arguments if (ROOT / word.partition("::")[0]).exists()]
    in_browser = {Path(path).parts[:2] == ("tests", "browser") for path in paths}
    narrowed = []
    for part in parts:
        if not paths:
            narrowed.append(part.with_arguments(arguments))
        elif part.is_browser in in_browser:
            narrowed.append(part.with_arguments(arguments, has_paths=True))
    return narrowed


def draw(parts: Sequence[Part], minutes: float, seed: str) -> list[Part]:
    """Return timed parts that together take no longer, in the order drawn; each may be the first."""
    drawn, left = [], minutes
    for part in random.Random(seed).sample(parts, len(parts)):
        if part.minutes is not None and part.minutes <= left:
            drawn.append(part)
            left -= part.minutes
    return drawn


def choose_long(arguments: Sequence[str]) -> list[Part]:
    """Return the parts of the long form that are asked for. Ends the program for a name that is none."""
    parser = argparse.ArgumentParser(prog="python -m tests --all")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(part.name for part in LONG))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed")
    options = parser.parse_args(arguments)
    known = {part.name: part for part in LONG}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(known)}")
    if options.minutes is None:
        return [known[name] for name in options.names] or list(LONG)
    seed = options.seed or commit()
    say(f"Drawn from the long form: python -m tests --all --minutes {options.minutes:g} --seed {seed}")
    return draw(LONG, options.minutes, seed)


def commit() -> str:
    """Return the commit that is checked out, as git says it in short."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--all"]:
        parts, at_once = choose_long(arguments[1:]), 1
    elif arguments:
        parts, at_once = narrow(SHORT, arguments), 2
    else:
        parts, at_once = list(SHORT), len(SHORT)
    try:
        return run_all(find_servable(parts), at_once=at_once)
    except Missing:  # which has been said
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
