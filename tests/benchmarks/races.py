"""W1, W2, W3: steps per second, starts per second, milliseconds from start to end, with real workers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from django.db import connection

from django_workflow import trigger, trigger_many
from django_workflow.models import Run

from . import inline, steps
from .contestant import FORKING, IDLE, Contestant
from .marks import new_tags, wait_for
from .measuring import take_turns
from .peers import celery_solo, huey_redis, plain_rq

Candidate = Callable[[], int]
LENGTH = 10
# After a turn its worker still records; a forking one lingers for 0.1 s.
SETTLE_SECONDS = 0.2
LINGERING = ", lingering"
BULK = 1000


def list_contestants(who: Sequence[str]) -> list[Contestant]:
    """Return everybody, ourselves first; or those with one of ``who`` in their name."""
    peers = [*plain_rq.contestants(), *huey_redis.contestants(), *celery_solo.contestants()]
    everybody = [*steps.contestants(), *peers]
    return [each for each in everybody if not who or any(part in each.name for part in who)]


def race_steps(contestants: Sequence[Contestant], rounds: int, runs: int) -> dict[str, float]:
    """W1: return the steps per second of many 10-step runs, from the first start to the last end."""
    candidates: dict[str, Candidate] = {
        "bare loop, ORM": inline.write_with_orm(max(1, runs // 2)),
        "bare loop, driver": inline.write_with_driver(max(1, runs // 2)),
    }
    for each in contestants:
        candidates[each.name] = _run_many(each, max(2, round(runs * each.share)))
    figures = take_turns(candidates, rounds, before=lambda name: time.sleep(SETTLE_SECONDS))
    _check_that_all_ended()
    return figures


def _run_many(contestant: Contestant, runs: int) -> Candidate:
    def candidate() -> int:
        tags = new_tags(runs)
        for tag in tags:
            contestant.start(tag, LENGTH)
        wait_for(tags)
        return runs * LENGTH

    return candidate


def _check_that_all_ended() -> None:
    time.sleep(SETTLE_SECONDS)
    left = Run.objects.exclude(workflow__name="bench").exclude(status="done")
    if left.exists():
        raise RuntimeError(f"runs that set their mark but are not done: {left.count()}, such as {left[0]}")


def race_starts(contestants: Sequence[Contestant], rounds: int, runs: int) -> dict[str, float]:
    """W2: return the starts per second of 1-step runs that no worker looks for."""
    workflow = steps.name_of("plain", IDLE, 1)
    candidates = {
        "trigger": _put(lambda tag: trigger(workflow, {"tag": tag}), runs * 5),
        "trigger_many": _put_many(workflow),
    }
    for each in contestants:
        if each.put is not None:
            candidates[each.name] = _put(each.put, runs * 5)
    return take_turns(candidates, rounds)


def _put(put: Callable[[str], object], runs: int) -> Candidate:
    def candidate() -> int:
        for tag in new_tags(runs):
            put(tag)
        return runs

    return candidate


def _put_many(workflow: str) -> Candidate:
    def candidate() -> int:
        trigger_many(workflow, [{"tag": tag} for tag in new_tags(BULK)])
        return BULK

    return candidate


def race_to_the_end(contestants: Sequence[Contestant], repetitions: int) -> dict[str, float]:
    """W3: return the milliseconds from start to end of one run on an idle system.

    A forking worker of ours is measured twice: long after its last job, and while that still lingers.
    """
    entries: dict[str, tuple[Contestant, int]] = {}
    for length in (LENGTH, 1):
        for each in contestants:
            name = f"{each.name}, {length} step{'s'[: length - 1]}"
            entries[name] = (each, length)
            if each.needs_django and each.name.endswith(FORKING) and length == 1:
                entries[name + LINGERING] = (each, length)

    def wait(name: str) -> None:
        time.sleep(random.uniform(0.2, 0.3))
        if name.endswith(LINGERING):
            _run_one(*entries[name])
            time.sleep(random.uniform(0.02, 0.06))

    candidates = {name: _one_run(*entry) for name, entry in entries.items()}
    rates = take_turns(candidates, repetitions, before=wait)
    return {name: 1000 / rate for name, rate in rates.items()}


def _one_run(contestant: Contestant, length: int) -> Candidate:
    return lambda: _run_one(contestant, length)


def _run_one(contestant: Contestant, length: int) -> int:
    tags = new_tags(1)
    contestant.start(tags[0], length)
    wait_for(tags)
    return 1


def describe_database() -> str:
    """Return what decides how durable a commit is; raise where PostgreSQL does not wait for the disk."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous")
            return f"SQLite, WAL, synchronous={cursor.fetchone()[0]}"
        cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        found = cursor.fetchone()
    if found != ("on", "on"):
        raise RuntimeError(f"fsync and synchronous_commit must be on to measure, and are {found}")
    return "PostgreSQL, fsync on, synchronous_commit on"
