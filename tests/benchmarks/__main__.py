"""``python -m tests.benchmarks``: SQLite in this process, then a private PostgreSQL (fsync on) in one of its
own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--here", action="store_true", help="only on the database of this process")
    options = parser.parse_args()
    measure(options.rounds, options.runs)
    if options.here:
        return 0
    again = [
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--here",
        f"--rounds={options.rounds}",
        f"--runs={options.runs}",
    ]
    return subprocess.run([sys.executable, "-m", "tests.postgres", *again], check=False).returncode


def measure(rounds: int, runs: int) -> None:
    """Print the tables of one database."""
    django.setup()
    from django.db import connection

    from . import inline, starting
    from .measuring import format_table, take_turns

    connection.creation.create_test_db(verbosity=0, keepdb=True)
    inline.publish()
    write = sys.stdout.write
    steps = {
        "bare loop, ORM": inline.write_with_orm(runs),
        "bare loop, driver": inline.write_with_driver(runs),
        "django_workflow, inline": inline.drive_runs(runs),
    }
    title = f"{connection.vendor}: steps of many 10-step runs"
    write(format_table(title, take_turns(steps, rounds), beside="bare loop, ORM", unit="steps/s") + "\n\n")
    starts = {
        "trigger": inline.start_runs(runs * 5),
        "trigger_many": inline.start_many(runs * 25),
    }
    title = f"{connection.vendor}: starts"
    write(format_table(title, take_turns(starts, rounds), beside="trigger", unit="runs/s") + "\n\n")
    if connection.vendor == "sqlite":
        write(starting.describe(rounds) + "\n\n")
    connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


if __name__ == "__main__":
    sys.exit(main())
