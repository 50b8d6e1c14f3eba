"""``python -m tests.benchmarks``: SQLite, then a private PostgreSQL (fsync on), each beside a private Redis.

``--only`` names parts: ``inline`` (steps and starts in this process), ``w1`` (steps per second with workers),
``w2`` (starts per second), ``w3`` (milliseconds from start to end), ``w4`` (milliseconds for each of many
children and their join), ``start`` (import and set-up), ``waiting`` (a tick beside 100,000 waiting runs),
``pages`` (the list of runs in the admin beside 500,000 runs; PostgreSQL).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from tests.servers.private_server import Missing, is_ci, run_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.settings")

PARTS = {
    "sqlite": ("inline", "w1", "start", "waiting"),
    "postgres": ("inline", "w1", "w3", "w2", "w4", "waiting", "pages"),
}
ALL_PARTS = ("inline", "w1", "w2", "w3", "w4", "start", "waiting", "pages")


def main() -> int:
    """Measure what the arguments ask for: each database in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=ALL_PARTS, help="a part; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, after one to warm up")
    parser.add_argument("--runs", type=int, default=100, help="runs in a turn; fewer of who is slow")
    parser.add_argument("--who", action="append", default=[], help="a part of a name; default: all")
    parser.add_argument("--database", action="append", choices=sorted(PARTS), help="default: both")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # So that workers and servers are ended too.
    signal.signal(signal.SIGTERM, _leave)
    if options.here:
        return measure(options)
    for database in options.database or sorted(PARTS, reverse=True):
        parts = options.only or PARTS[database]
        arguments = [f"--rounds={options.rounds}", f"--runs={options.runs}", f"--database={database}"]
        arguments += [f"--only={part}" for part in parts] + [f"--who={who}" for who in options.who]
        here = [sys.executable, "-m", "tests.benchmarks", "--here", *arguments]
        server = [sys.executable, "-m", "tests.servers.postgres"] if database == "postgres" else []
        if code := run_command([*server, *here], {}):
            return code
    return 0


def measure(options: argparse.Namespace) -> int:
    """Measure on the database of this process."""
    import django

    django.setup()
    from django.conf import settings

    from tests.servers.redis_server import redis_server

    from . import report

    try:
        with redis_server(settings.REDIS_SOCKET):
            report.write_all(options.only, options.rounds, options.runs, options.who)
    except Missing as reason:
        sys.stderr.write(f"tests.benchmarks: not run: {reason}\n")
        return 1 if is_ci() else 0
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
