"""The tables of one database, written as they come."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from django.db import connection
from django.test.utils import override_settings

from . import inline, joins, pages, races, starting, steps, waiting
from .aims import JOINS, LATENCIES, STARTS, STEPS, STEPS_ON_SQLITE, Aim, describe_aims
from .measuring import format_table, take_turns
from .workers import at_work


def write_all(parts: Sequence[str], rounds: int, runs: int, who: Sequence[str]) -> None:
    """Measure ``parts`` in a fresh database."""
    connection.creation.create_test_db(verbosity=0, keepdb=True)
    try:
        _write(f"{races.describe_database()}; medians; {describe_load()}")
        inline.publish()
        if "inline" in parts:
            write_inline(rounds, max(1, runs * 2 // 5))
        if {"w1", "w2", "w3"} & set(parts):
            steps.publish()
            write_races(parts, rounds, runs, who)
        if "w4" in parts:
            write_joins(rounds, who)
        if "waiting" in parts:
            figures = waiting.measure(rounds)
            title = f"{connection.vendor}: a tick of the clock beside runs that wait for an event"
            _write(format_table(title, figures, beside="tick, 0 waiting", unit="ms"))
        if "pages" in parts and connection.vendor == "postgresql":
            title = f"{connection.vendor}: the list of runs beside {pages.RUNS:,} runs"
            _write(format_table(title, pages.measure(rounds), beside="all, stock", unit="ms"))
        if "start" in parts:
            _write(starting.describe(rounds))
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def describe_load() -> str:
    """Return how busy others keep this machine, which makes what needs several processes slowest."""
    return f"{os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f}"


@override_settings(DJANGO_WORKFLOW={"QUEUE": None})
def write_inline(rounds: int, runs: int) -> None:
    """Measure what one process does without workers."""
    candidates = {
        "bare loop, ORM": inline.write_with_orm(runs),
        "bare loop, driver": inline.write_with_driver(runs),
        "django_workflow, inline": inline.drive_runs(runs),
    }
    title = f"{connection.vendor}: steps of many 10-step runs"
    figures = take_turns(candidates, rounds)
    _write(format_table(title, figures, beside="bare loop, ORM", unit="steps/s"))
    starts = {"trigger": inline.start_runs(runs * 5), "trigger_many": inline.start_many(runs * 25)}
    figures = take_turns(starts, rounds)
    _write(format_table(f"{connection.vendor}: starts", figures, beside="trigger", unit="runs/s"))


def write_races(parts: Sequence[str], rounds: int, runs: int, who: Sequence[str]) -> None:
    """Measure the races of ``parts`` with real workers."""
    contestants = races.list_contestants(who)
    is_sqlite = connection.vendor == "sqlite"
    if is_sqlite:
        contestants = [each for each in contestants if each.needs_django or each.name.startswith("huey")]
    with at_work(contestants):
        if "w1" in parts:
            figures = races.race_steps(contestants, rounds, runs)
            aims = STEPS_ON_SQLITE if is_sqlite else STEPS
            _write_race("W1: steps of many 10-step runs", figures, "huey on Redis", "steps/s", aims)
        if "w3" in parts:
            timed = [each for each in contestants if each.is_timed]
            figures = races.race_to_the_end(timed, rounds * 2)
            _write_race("W3: from start to end, idle", figures, "huey on Redis, 1 step", "ms", LATENCIES)
        if "w2" in parts:
            figures = races.race_starts(contestants, rounds, runs)
            _write_race("W2: starts of 1-step runs", figures, "huey on Redis", "runs/s", STARTS)


def write_joins(rounds: int, who: Sequence[str]) -> None:
    """Measure many children and their join with real workers."""
    steps.publish()
    steps.publish_joins()
    contestants = joins.list_contestants(who)
    with at_work(contestants):
        figures = joins.race_joins(contestants, rounds)
    _write_race("W4: children and their join, each", figures, "Celery chord, 200", "ms", JOINS)


def _write_race(
    title: str, figures: Mapping[str, float], beside: str, unit: str, aims: Sequence[Aim]
) -> None:
    _write(format_table(f"{connection.vendor}: {title}", figures, beside=beside, unit=unit))
    _write(describe_aims(aims, figures))


def _write(text: str) -> None:
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()
