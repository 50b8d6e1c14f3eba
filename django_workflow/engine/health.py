"""Whether all is well: who listens, who ticks, what waits too long. Each problem says the way out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import Error, connections
from django.db.models import Count, Min
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..asking import why_unanswerable
from ..conf import get_settings
from ..models import StepRun
from ..queues import QueueFacts, look_at_queue
from ..status import RunStatus, StepStatus, WaitingFor
from .clocks import alive_clocks
from .live_queues import live_queues
from .now import database_now
from .stuck import find_stuck
from .tick import is_migrated

# What is late by less is on its way.
LATE = timedelta(seconds=60)
# How many queues are looked at at once: where one Redis does not answer, another still may.
TOGETHER = 8
# How many approvals that wait are looked at, the oldest first.
MOST_APPROVALS = 1000
NO_CLOCK = _("Database %(alias)r: no clock ticks. Start `manage.py workflow_clock`.")
NO_WORKER = _("Queue %(queue)r: no worker listens. Start `manage.py rqworker %(queue)s`.")
NO_REDIS = _(
    "Queue %(queue)r: %(error)s. Nobody is rung for; steps wait in the database until that is mended."
)
LATE_STEPS = _(
    "Database %(alias)r, queue %(queue)r: %(count)s ready, the oldest for %(oldest)s. See its workers' log, "
    "or start more."
)
LATE_INLINE = _(
    "Database %(alias)r: %(count)s ready, the oldest for %(oldest)s. See the log of "
    "`manage.py workflow_clock`."
)
EXPIRED = _(
    "Database %(alias)r: leases of %(count)s steps have expired, the oldest %(oldest)s ago. See the log of "
    "the clock."
)
NO_TABLES = _("No database has the tables of django_workflow. Run `manage.py migrate`.")
NO_ANSWER = _("Database %(alias)r does not answer: %(error)s.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Step runs of one queue that are due: how many, and for how long the oldest has been."""

    queue: str
    count: int
    oldest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswerable:
    """Approvals that nobody can answer for one reason: how many, and the run of the oldest."""

    reason: str
    count: int
    step: str
    run: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """One alias: what waits on it and who moves it. ``error`` where it does not answer."""

    alias: str
    queues: tuple[str, ...] = ()
    ready: tuple[Backlog, ...] = ()
    expired: Backlog | None = None
    clocks: tuple[str, ...] = ()
    halted: tuple[UUID, ...] = ()
    unanswerable: tuple[Unanswerable, ...] = ()
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
    queues = _look_at_queues(sorted(names - {""}))
    problems = (*_problems_of_queues(queues), *_problems_of_databases(databases, is_inline=False))
    return Health(is_inline=False, databases=databases, queues=queues, problems=problems)


def find_absent(using: str, queues: Iterable[str]) -> list[str]:
    """Return a line for each queue that no worker listens to, and one where no clock ticks."""
    problems = list(_problems_of_queues(_look_at_queues([name for name in queues if name])))
    return problems if alive_clocks(using) else [*problems, NO_CLOCK % {"alias": using}]


def _look_at_queues(names: Sequence[str]) -> tuple[QueueFacts, ...]:
    if not names:
        return ()
    with ThreadPoolExecutor(max_workers=TOGETHER) as threads:
        return tuple(threads.map(look_at_queue, names))


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
        unanswerable=tuple(_find_unanswerable(alias)),
    )


def _find_unanswerable(alias: str) -> Iterator[Unanswerable]:
    waiting = StepRun.objects.using(alias).live().filter(waiting_for=WaitingFor.APPROVAL)
    rows = list(waiting.order_by("pk").only("run_id", "step", "awaits")[:MOST_APPROVALS])
    by_reason: dict[str, list[StepRun]] = defaultdict(list)
    for row, reason in zip(rows, why_unanswerable([row.awaits or {} for row in rows]), strict=True):
        by_reason[reason].append(row)
    by_reason.pop("", None)
    for reason, found in by_reason.items():
        yield Unanswerable(reason=reason, count=len(found), step=found[0].step, run=found[0].run_id)


def _backlog(queue: str, count: int, oldest: datetime, now: datetime) -> Backlog:
    return Backlog(queue=queue, count=count, oldest=timedelta(seconds=(now - oldest).total_seconds() // 1))


def _problems_of_queues(queues: Iterable[QueueFacts]) -> Iterator[str]:
    for facts in queues:
        if facts.error:
            yield NO_REDIS % {"queue": facts.name, "error": str(facts.error).rstrip(".")}
        elif not facts.workers:
            yield NO_WORKER % {"queue": facts.name}


def _problems_of_databases(databases: tuple[DatabaseFacts, ...], *, is_inline: bool) -> Iterator[str]:
    if not databases:
        yield str(NO_TABLES)
    for facts in databases:
        if facts.error:
            yield NO_ANSWER % {"alias": facts.alias, "error": facts.error}
        else:
            yield from _problems_of_database(facts, is_inline=is_inline)


def _problems_of_database(facts: DatabaseFacts, *, is_inline: bool) -> Iterator[str]:
    # Inline a clock is needed only while something waits.
    if not facts.clocks and (facts.queues or not is_inline):
        yield NO_CLOCK % {"alias": facts.alias}
    for each in facts.ready:
        if each.oldest > LATE:
            text = LATE_INLINE if is_inline or not each.queue else LATE_STEPS
            yield text % _values(facts, each)
    if facts.expired is not None and facts.expired.oldest > LATE:
        yield EXPIRED % _values(facts, facts.expired)
    if facts.halted:
        yield _halted(facts)
    for unanswerable in facts.unanswerable:
        yield _unanswerable(facts, unanswerable)


def _values(facts: DatabaseFacts, late: Backlog) -> dict[str, object]:
    return {"alias": facts.alias, "queue": late.queue, "count": f"{late.count:,}", "oldest": late.oldest}


def _halted(facts: DatabaseFacts) -> str:
    count = len(facts.halted)
    text = ngettext(
        "Database %(alias)r: %(count)s run is moved by nothing, such as %(run)s. Clocks repair that every 5 "
        "minutes; see their log.",
        "Database %(alias)r: %(count)s runs are moved by nothing, such as %(run)s. Clocks repair that every "
        "5 minutes; see their log.",
        count,
    )
    return text % {"alias": facts.alias, "count": f"{count:,}", "run": facts.halted[0]}


def _unanswerable(facts: DatabaseFacts, found: Unanswerable) -> str:
    text = ngettext(
        "Database %(alias)r: nobody can answer the approval %(step)r of run %(run)s: %(reason)s. Put that "
        "right, or skip the step.",
        "Database %(alias)r: nobody can answer %(count)s approvals, such as %(step)r of run %(run)s: "
        "%(reason)s. Put that right, or skip the steps.",
        found.count,
    )
    return text % {
        "alias": facts.alias,
        "count": f"{found.count:,}",
        "step": found.step,
        "run": found.run,
        "reason": found.reason,
    }
