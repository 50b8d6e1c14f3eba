"""What the engine needs of the project around it: time zones, databases that keep its promises, a clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import mail
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router

from .queues import given_queue

SHORTEST_TIMEOUT = 20
_OPTIONS = (
    "DATABASES[%r]['OPTIONS'] = {'transaction_mode': 'IMMEDIATE', 'timeout': 20, 'init_command': "
    "'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'} suits SQLite."
)


def check_time_zones(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E004: ``USE_TZ`` is off, so that times in the database mean nothing to another machine."""
    if settings.USE_TZ:
        return []
    text = "USE_TZ is off: leases, timers and deadlines would be wrong wherever the clocks change."
    return [Error(text, "Set USE_TZ = True.", "settings.USE_TZ", "django_workflow.E004")]


def check_inline(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: steps run inline while ``DEBUG`` is off; in tests, which turn it off, they are meant to."""
    is_test = hasattr(mail, "outbox")
    if settings.DEBUG or is_test or given_queue() is not None:
        return []
    return [
        Warning(
            "DEBUG is off, and steps run inline: in the process that triggers them, while its caller waits.",
            "Name a queue: RQ_QUEUES = {'default': {…}}, and run `manage.py rqworker default`. Where inline "
            "is meant, keep `manage.py workflow_clock` running, which goes on with whatever waits and with "
            "what a crash left behind, and add 'django_workflow.W001' to SILENCED_SYSTEM_CHECKS.",
            "settings.DJANGO_WORKFLOW",
            "django_workflow.W001",
        )
    ]


def check_databases(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E009: no autocommit. W002, W003: SQLite that is soon locked. E005: SQLite in memory with a queue."""
    found: list[CheckMessage] = []
    for alias in connections:
        if router.allow_migrate(alias, "django_workflow"):
            database = connections[alias].settings_dict
            found += _check_autocommit(alias, database)
            found += _check_sqlite(alias, database) if connections[alias].vendor == "sqlite" else ()
    return found


def _check_autocommit(alias: str, database: dict[str, Any]) -> Iterator[CheckMessage]:
    if not database.get("AUTOCOMMIT", True):
        text = "AUTOCOMMIT is off: what workers and clocks record would never be committed."
        hint = "Leave it on, and use transaction.atomic()."
        yield Error(text, hint, f"settings.DATABASES[{alias!r}]", "django_workflow.E009")


def _check_sqlite(alias: str, database: dict[str, Any]) -> Iterator[CheckMessage]:
    options, obj = database.get("OPTIONS") or {}, f"settings.DATABASES[{alias!r}]"
    if str(options.get("transaction_mode") or "").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        text = (
            "SQLite begins transactions as readers; two of them that then write fail as 'database is locked'."
        )
        yield Warning(text, _OPTIONS % alias, obj, "django_workflow.W002")
    timeout = options.get("timeout", 5)
    if not isinstance(timeout, (int, float)) or timeout < SHORTEST_TIMEOUT:
        text = f"SQLite waits {timeout} s for another writer; an atomic step may take longer."
        yield Warning(text, _OPTIONS % alias, obj, "django_workflow.W003")
    if given_queue() is not None and _is_in_memory(str(database.get("NAME") or "")):
        text = "A worker is another process, and cannot see this SQLite database, which is in memory."
        yield Error(text, "Use a file, or set QUEUE to None.", obj, "django_workflow.E005")


def _is_in_memory(name: str) -> bool:
    return name == ":memory:" or "mode=memory" in name
