"""Settings of a database session (``SET search_path``, ``SET ROLE``, ``PRAGMA …``), kept across other code.

A step leaves them as it found them: its recording, and the steps after it, use the same connection. They are
read only when a statement is about to change some, so that usual steps cost no query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, connections

from .transactions import is_to_roll_back

# What may change a setting; a statement that is taken for one without need costs two queries.
_CHANGES = {
    "postgresql": re.compile(
        r"(?:^|;|\*/|\n)\s*(?:set|reset|discard|do|call)\b|\bset_config\b", re.IGNORECASE
    ),
    "sqlite": re.compile(r"\bpragma\b[^;]*[=(]", re.IGNORECASE),
}
# A project's own settings, which PostgreSQL does not list, such as app.tenant.
_OWN_NAME = re.compile(r"\b[a-z_]\w*\.[a-z_]\w*\b", re.IGNORECASE)
# Who acts comes first: the other settings may be that user's to change.
_READ = """
SELECT name, current_setting(name)
FROM (VALUES ('session_authorization'), ('role')) AS acting(name)
UNION ALL
SELECT name, current_setting(name)
FROM pg_settings
WHERE context IN ('user', 'superuser') AND name NOT LIKE 'transaction%'
"""
_READ_OWN = "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS own(name)"
_RESTORE = """
SELECT set_config(name, before, false)
FROM unnest(%s::text[], %s::text[]) AS found(name, before)
WHERE coalesce(current_setting(name, true), '') <> before
"""
_PRAGMAS = (
    "foreign_keys",
    "query_only",
    "busy_timeout",
    "synchronous",
    "locking_mode",
    "ignore_check_constraints",
    "read_uncommitted",
    "recursive_triggers",
    "legacy_alter_table",
    "writable_schema",
)


@contextmanager
def keeping_settings() -> Iterator[None]:
    """Let the sessions of this thread's connections have the settings after the body that they had before.

    Raises what the database says where they cannot be put back.
    """
    keepers = [_Keeper(each) for each in connections.all() if each.vendor in _CHANGES]
    for keeper in keepers:
        keeper.connection.execute_wrappers.append(keeper)
    try:
        yield
    finally:
        for keeper in keepers:
            # What overlaps with the body may have taken it off.
            with suppress(ValueError):
                keeper.connection.execute_wrappers.remove(keeper)
        for keeper in keepers:
            keeper.restore()


class _Keeper:
    """Reads, before the first statement that may change them, the settings of one connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._session: Any = None
        self._found: dict[str, Any] = {}

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        # What a driver composes is no text yet.
        if not isinstance(sql, str) or _CHANGES[self.connection.vendor].search(sql):
            # In a transaction that an error has stopped nothing is read, nor changed.
            with suppress(DatabaseError):
                self._note(f"{sql} {params}")
        return execute(sql, params, many, context)

    def _note(self, statement: str) -> None:
        is_first = self._session is not self.connection.connection
        if is_first:
            self._session, self._found = self.connection.connection, {}
        with self._unwatched(), self.connection.cursor() as cursor:
            if is_first:
                self._found = dict(_read(cursor, self.connection.vendor))
            if self.connection.vendor == "postgresql":
                own = sorted({*_OWN_NAME.findall(statement)} - self._found.keys())
                cursor.execute(_READ_OWN, [own])
                self._found |= {name: value or "" for name, value in cursor.fetchall()}

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        wrappers = self.connection.execute_wrappers
        self.connection.execute_wrappers = []
        try:
            yield
        finally:
            self.connection.execute_wrappers = wrappers

    def restore(self) -> None:
        """Put back what the session had; a connection that is new, or that rolls back, has that already."""
        connection = self.connection
        is_same = self._session is not None and connection.connection is self._session
        if not is_same or not self._found or is_to_roll_back(connection):
            return
        try:
            with connection.cursor() as cursor:
                _restore(cursor, connection.vendor, self._found)
        except DatabaseError:
            if not connection.in_atomic_block:
                connection.close()
            raise


def _read(cursor: Any, vendor: str) -> Iterable[tuple[str, Any]]:
    if vendor == "postgresql":
        cursor.execute(_READ)
        return list(cursor.fetchall())
    return _pragmas(cursor)


def _pragmas(cursor: Any) -> list[tuple[str, Any]]:
    return [(name, cursor.execute(f"PRAGMA {name}").fetchone()[0]) for name in _PRAGMAS]


def _restore(cursor: Any, vendor: str, found: Mapping[str, Any]) -> None:
    if vendor == "postgresql":
        cursor.execute(_RESTORE, [[*found], [*found.values()]])
        return
    for name, value in _pragmas(cursor):
        if value != found[name]:
            cursor.execute(f"PRAGMA {name} = {found[name]}")
