"""One tick of the clock: end, recover, ring for or do what is due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.db import InterfaceError, OperationalError, connections, router

from ..conf import get_settings
from ..dispatch import ring, ring_for_bulk
from ..models import Run, StepRun
from ..status import RunStatus, StepStatus
from . import callers, in_touch
from .bulk import advance, due_bulk_actions
from .clocks import beat
from .control import end_overdue
from .execute import work
from .live_queues import live_queues
from .now import database_now
from .outage import is_lost
from .recover import recover_expired
from .send import wake_unheard
from .stuck import recover_stuck

logger = logging.getLogger("django_workflow")

# Who made a step ready rings for it; the clock does where nobody has come for so long.
UNHEARD_AFTER = timedelta(seconds=1)


def clock_aliases() -> list[str]:
    """Return the database aliases that runs may live on: where the app migrates, and no replica."""
    return [alias for alias in connections if _may_hold_runs(alias)]


def is_migrated(using: str) -> bool:
    """Whether the app's tables are there; asks the database."""
    return Run._meta.db_table in connections[using].introspection.table_names()


def tick(
    using: str,
    *,
    is_stopping: Callable[[], bool],
    seconds: float | None = None,
    pause: Callable[[float], bool] | None = None,
) -> int:
    """Do what a clock does: say that it is alive, end what is overdue, recover, go on with what is due.

    Inline what is due is executed, until nothing is, ``seconds`` are over or the process ``is_stopping``;
    with queues workers are rung for. A step that has begun is always finished. A process that ticks only once
    gives ``pause``, as ``recover_expired`` says. Returns how many runs and step runs were moved.

    Raises the database's ``OperationalError`` or ``InterfaceError`` in an outage. Anything else is logged.
    """
    parts: tuple[Callable[[], int | None], ...] = (
        partial(beat, using),
        lambda: end_overdue(using, database_now(using)),
        partial(recover_expired, using, pause=pause),
        partial(recover_stuck, using),
        partial(wake_unheard, using),
        partial(callers.repeat, using),
        partial(_go_on_with_bulk_actions, using, is_stopping, seconds),
        partial(_go_on, using, is_stopping, seconds),
    )
    return sum(_guard(using, part) for part in parts if not is_stopping())


def has_ready(using: str, queue: str, *, since: timedelta = timedelta(0)) -> bool:
    """Return whether a worker of ``queue`` would find something, and would have ``since`` so long ago."""
    rows = StepRun.objects.using(using).due(database_now(using) - since)
    rows = rows.filter(queue=queue).exclude(status=StepStatus.RUNNING)
    return rows.exclude(run__status=RunStatus.PAUSED).exists()


def _may_hold_runs(alias: str) -> bool:
    is_replica = connections[alias].settings_dict["TEST"].get("MIRROR") is not None
    return not is_replica and bool(router.allow_migrate_model(alias, Run))


def _guard(using: str, part: Callable[[], int | None]) -> int:
    """Do a part of the tick. One row that is broken must stop neither the others nor the clock."""
    try:
        return part() or 0
    except (OperationalError, InterfaceError) as error:
        if is_lost(using, error):
            in_touch.lose(using)
        raise
    except Exception:
        logger.exception("The clock goes on with the rest of database %r.", using)
        return 0


def _go_on_with_bulk_actions(using: str, is_stopping: Callable[[], bool], seconds: float | None) -> int:
    """Go on with the bulk actions that are due, or ring for them."""
    if get_settings().QUEUE is not None:
        for bulk_id in due_bulk_actions(using, since=UNHEARD_AFTER):
            ring_for_bulk(using, bulk_id)
        return 0
    due = due_bulk_actions(using)
    for bulk_id in due:
        # Without a limit to the tick it is gone on with to its end.
        while advance(using, bulk_id, is_stopping=is_stopping) and seconds is None and not is_stopping():
            pass
    return len(due)


def _go_on(using: str, is_stopping: Callable[[], bool], seconds: float | None) -> int:
    """Execute what is due, or ring for it."""
    if get_settings().QUEUE is None:
        return _work(using, is_stopping, seconds)
    count = 0
    for queue in live_queues(using):
        if is_stopping():
            break
        if not queue:
            # Left from a time without queues: no worker looks there.
            count += work(using, queue="", seconds=seconds, is_stopping=is_stopping)
        elif has_ready(using, queue, since=UNHEARD_AFTER):
            ring(using, queue)
    return count


def _work(using: str, is_stopping: Callable[[], bool], seconds: float | None) -> int:
    """Execute what is due, queue by queue, as the index has it, until nothing is."""
    until = None if seconds is None else time.monotonic() + seconds
    total = 0
    while count := sum(_work_on(using, queue, is_stopping, until) for queue in live_queues(using)):
        total += count
    return total


def _work_on(using: str, queue: str, is_stopping: Callable[[], bool], until: float | None) -> int:
    seconds = None if until is None else until - time.monotonic()
    return work(using, queue=queue, seconds=seconds, is_stopping=is_stopping)
