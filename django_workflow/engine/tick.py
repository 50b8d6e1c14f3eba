"""One tick of the clock: end what is overdue, go on with what is due (ENGINE.md rules 8, 27)."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, router

from ..models import Run
from .control import end_overdue
from .execute import work
from .now import database_now


def clock_aliases() -> list[str]:
    """Return the database aliases that runs may live on: where the app migrates, and no replica."""
    return [alias for alias in connections if _may_hold_runs(alias)]


def is_migrated(using: str) -> bool:
    """Whether the app's tables are there; asks the database."""
    return Run._meta.db_table in connections[using].introspection.table_names()


def tick(using: str, *, is_stopping: Callable[[], bool], seconds: float | None = None) -> int:
    """Do what is due, step after step, until nothing is, ``seconds`` are over or the process ``is_stopping``.

    Returns how many step runs were claimed and runs ended. A step that has begun is always finished.
    """
    count = end_overdue(using, database_now(using))
    return count + work(using, seconds=seconds, is_stopping=is_stopping)


def _may_hold_runs(alias: str) -> bool:
    is_replica = connections[alias].settings_dict["TEST"].get("MIRROR") is not None
    return not is_replica and bool(router.allow_migrate_model(alias, Run))
