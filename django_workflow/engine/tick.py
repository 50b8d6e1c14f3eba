"""One tick of the clock: end what is overdue, go on with what is due (ENGINE.md rules 8, 27)."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connections, router

from ..models import Run
from .claim import claim_due
from .control import end_overdue
from .execute import _loop, execute
from .now import database_now


def clock_aliases() -> list[str]:
    """Return the database aliases that runs may live on: where the app migrates, and no replica."""
    return [alias for alias in connections if _may_hold_runs(alias)]


def is_migrated(using: str) -> bool:
    """Whether the app's tables are there; asks the database."""
    return Run._meta.db_table in connections[using].introspection.table_names()


def tick(using: str, *, is_stopping: Callable[[], bool], seconds: float | None = None) -> int:
    """Do what is due, step after step, until nothing is, ``seconds`` are over or the process ``is_stopping``.

    Returns how many steps were taken and runs ended. A step that has begun is always finished.
    """
    until = None if seconds is None else time.monotonic() + seconds
    count = end_overdue(using, database_now(using))
    # What follows a step, and runs that its handler triggers, are left ready and claimed in turn: a claim that
    # is kept would have to be given back by a process that is told to stop.
    with _loop():
        while not is_stopping() and (until is None or time.monotonic() < until):
            claim = claim_due(using)
            if claim is None:
                break
            execute(claim, keep=False)
            count += 1
    return count


def _may_hold_runs(alias: str) -> bool:
    is_replica = connections[alias].settings_dict["TEST"].get("MIRROR") is not None
    return not is_replica and bool(router.allow_migrate_model(alias, Run))
