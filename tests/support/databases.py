"""The databases of a test run: made by one migration, and emptied between tests without another."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import cache
from typing import Any

from django.core.management import call_command
from django.db import connections, transaction

# What migrations put there, and tests only add to inside of a transaction.
KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})


def make_databases() -> None:
    """Migrate the default database, and make each other one as a copy of it, where that is possible."""
    source: Any = connections["default"]
    _create(source)
    _migrate("default")
    source.close()
    for alias in connections:
        if alias == "default":
            continue
        if source.vendor == "mysql":
            _create(connections[alias])
            _migrate(alias)
        else:
            _create(connections[alias], template=source)


def _migrate(alias: str) -> None:
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)


def _create(connection: Any, *, template: Any = None) -> None:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        if template is not None:
            shutil.copyfile(template.settings_dict["NAME"], name)
    else:
        options = f" TEMPLATE {template.settings_dict['NAME']}" if template is not None else ""
        with connection._nodb_cursor() as cursor:
            # On a server that is not the test run's own it may be there.
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name}{options}")


def empty(aliases: Iterable[str]) -> None:
    """Delete all rows but those of migrations.

    Django's ``flush`` truncates, which costs PostgreSQL more the more tables there are, and creates every
    permission again.
    """
    for alias in aliases:
        connection = connections[alias]
        with transaction.atomic(alias), connection.cursor() as cursor:
            # Foreign keys are checked at the commit, so that any order will do; but for those of MariaDB.
            quote = connection.ops.quote_name
            deletions = [f"DELETE FROM {quote(table)}" for table in _tables(alias)]
            if connection.vendor == "mysql":
                deletions = ["SET FOREIGN_KEY_CHECKS = 0", *deletions, "SET FOREIGN_KEY_CHECKS = 1"]
            for statement in ["; ".join(deletions)] if connection.vendor == "postgresql" else deletions:
                cursor.execute(statement)


@cache
def _tables(alias: str) -> list[str]:
    return [name for name in connections[alias].introspection.table_names() if name not in KEPT]
