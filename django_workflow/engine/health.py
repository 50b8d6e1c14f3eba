"""Whether all is well: who listens, who ticks, what waits too long. Each problem says the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import Error, connections
from django.db.models import Count, Min

from ..conf import get_settings
from ..models import StepRun
from ..queues import QueueFacts, look_at_queue
from ..status import RunStatus, StepStatus
from .clocks import alive_clocks
from .live_queues import live_queues
from .now import database_now
from .stuck import find_stuck
from .tick import is_migrated

# What is late by less is on its way.
LATE = timedelta(seconds=60)
NO_CLOCK = "Database {!r}: no clock ticks. Start `manage.py workflow_clock`."
NO_WORKER = "Queue {0!r}: no worker listens. Start `manage.py rqworker {0}`."
NO_REDIS = "Queue {!r}: {}. Nobody is rung for; steps wait in the database until that is mended."
LATE_STEPS = "Database {!r}, queue {!r}: {:,} ready, the oldest for {}. See its workers' log, or start more."
LATE_INLINE = "Database {!r}: {:,} ready, the oldest for {}. See the log of `manage.py workflow_clock`."
EXPIRED = "Database {!r}: leases of {:,} steps have expired, the oldest {} ago. See the log of the clock."
HALTED = "Database {!r}: {} moved by nothing, such as {}. Clocks repair that every 5 minutes; see their log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Step runs of one queue that are due: how many, and for how long the oldest has been."""

    queue: str
    count: int
    oldest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """One alias: what waits on it and who moves it. ``error`` where it does not answer."""

    alias: str
    queues: tuple[str, ...] = ()
    ready: tuple[Backlog, ...] = ()
    expired: Backlog | None = None
    clocks: tuple[str, ...] = ()
    halted: tuple[UUID, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that was seen, and the problems, a line each."""

    is_inline: bool
    databases: tuple[DatabaseFacts, ...]
    queues: tuple[QueueFacts, ...] = ()
    problems: tuple[str, ...] = field(default=())


def examine(aliases: Iterable[str]) -> Health:
    """Look at the databases, and at the queues that their step runs are for."""
    databases = tuple(facts for alias in aliases if (facts := _examine_database(alias)) is not None)
    default = get_settings().QUEUE
    if default is None:
        problems = tuple(_problems_of_databases(databases, is_inline=True))
        return Health(is_inline=True, databases=databases, problems=problems)
    names = {default, *(name for facts in databases for name in facts.queues)}
    queues = tuple(look_at_queue(name) for name in sorted(names - {""}))
    problems = (*_problems_of_queues(queues), *_problems_of_databases(databases, is_inline=False))
    return Health(is_inline=False, databases=databases, queues=queues, problems=problems)


def find_absent(using: str, queues: Iterable[str]) -> list[str]:
    """Return a line for each queue that no worker listens to, and one where no clock ticks."""
    problems = list(_problems_of_queues([look_at_queue(name) for name in queues if name]))
    return problems if alive_clocks(using) else [*problems, NO_CLOCK.format(using)]


def _examine_database(alias: str) -> DatabaseFacts | None:
    try:
        return _look_at_database(alias) if is_migrated(alias) else None
    except Error as error:
        connections[alias].close()
        return DatabaseFacts(alias=alias, error=" ".join(str(error).split()))


def _look_at_database(alias: str) -> DatabaseFacts:
    now = database_now(alias)
    due = StepRun.objects.using(alias).due(now)
    ready = due.exclude(status=StepStatus.RUNNING).exclude(run__status=RunStatus.PAUSED)
    by_queue = ready.order_by("queue").values_list("queue").annotate(Count("pk"), Min("due_at"))
    expired = due.filter(status=StepStatus.RUNNING).aggregate(count=Count("pk"), oldest=Min("due_at"))
    return DatabaseFacts(
        alias=alias,
        queues=tuple(live_queues(alias)),
        ready=tuple(_backlog(queue, count, oldest, now) for queue, count, oldest in by_queue),
        expired=_backlog("", expired["count"], expired["oldest"], now) if expired["count"] else None,
        clocks=tuple(clock.name for clock in alive_clocks(alias)),
        halted=tuple(find_stuck(alias)),
    )


def _backlog(queue: str, count: int, oldest: datetime, now: datetime) -> Backlog:
    return Backlog(queue=queue, count=count, oldest=timedelta(seconds=(now - oldest).total_seconds() // 1))


def _problems_of_queues(queues: Iterable[QueueFacts]) -> Iterator[str]:
    for facts in queues:
        if facts.error:
            yield NO_REDIS.format(facts.name, str(facts.error).rstrip("."))
        elif not facts.workers:
            yield NO_WORKER.format(facts.name)


def _problems_of_databases(databases: tuple[DatabaseFacts, ...], *, is_inline: bool) -> Iterator[str]:
    if not databases:
        yield "No database has the tables of django_workflow. Run `manage.py migrate`."
    for facts in databases:
        if facts.error:
            yield f"Database {facts.alias!r} does not answer: {facts.error}."
        else:
            yield from _problems_of_database(facts, is_inline=is_inline)


def _problems_of_database(facts: DatabaseFacts, *, is_inline: bool) -> Iterator[str]:
    # Inline a clock is needed only while something waits.
    if not facts.clocks and (facts.queues or not is_inline):
        yield NO_CLOCK.format(facts.alias)
    for each in facts.ready:
        if each.oldest > LATE and (is_inline or not each.queue):
            yield LATE_INLINE.format(facts.alias, each.count, each.oldest)
        elif each.oldest > LATE:
            yield LATE_STEPS.format(facts.alias, each.queue, each.count, each.oldest)
    if facts.expired is not None and facts.expired.oldest > LATE:
        yield EXPIRED.format(facts.alias, facts.expired.count, facts.expired.oldest)
    if facts.halted:
        runs = "1 run is" if len(facts.halted) == 1 else f"{len(facts.halted):,} runs are"
        yield HALTED.format(facts.alias, runs, facts.halted[0])
