"""Recordings, claims and new runs, many in a transaction: only the writing.

Plain SQL from the models' columns, because most of the time the ORM would take goes into making such SQL. On
PostgreSQL each is one statement; elsewhere there is one ``executemany`` for like changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from ..models import Run, StepRun
from . import postgres
from .columns import Model, by_field, columns_of, table_of
from .entries import Entry, Pick

# Columns with their new values, and columns with the values that the row must have still, by name.
Change = tuple[dict[str, Any], dict[str, Any]]


class _Missed(Exception):
    """A row was not as it was read: the transaction is rolled back."""


def write(using: str, entries: Sequence[Entry]) -> set[UUID]:
    """Write recordings of different runs, each run's row first, and return the keys of the runs that passed.

    Of the others nothing is written. Where the database is not PostgreSQL, one that misses undoes all.
    """
    if not entries:
        return set()
    if _is_postgres(using):
        passed = postgres.write(using, entries)
    else:
        passed = _write(using, sorted(entries, key=lambda each: each.run.pk))
    _note_saved(using, (row for each in entries if each.run.pk in passed for row in each.created))
    return passed


def take(using: str, picks: Sequence[Pick]) -> set[UUID]:
    """Claim step runs, each run's row first, and return the keys of those claimed: of a run all or none.

    Of the others nothing is written. Picks of one run have the same values for its row.
    """
    if not picks:
        return set()
    if _is_postgres(using):
        passed = postgres.take(using, picks)
    else:
        passed = _take(using, sorted(picks, key=lambda each: each.run.pk))
    return {each.row.pk for each in picks if each.run.pk in passed}


def change(using: str, changes: Sequence[tuple[UUID, Mapping[str, Any]]]) -> None:
    """Change step runs, by their keys, in a transaction that holds the lock of their run."""
    named = [(key, by_field(StepRun, values)) for key, values in changes]
    if not named:
        return
    if _is_postgres(using):
        postgres.change(using, named)
        return
    with connections[using].cursor() as cursor:
        shaped = sorted(((values, {"id": key}) for key, values in named), key=_shape)
        for shape, like in groupby(shaped, key=_shape):
            params = [_parameters(using, StepRun, each) for each in like]
            cursor.executemany(_update_sql(using, StepRun, *shape), params)


def insert(using: str, runs: Sequence[Run], rows: Sequence[StepRun]) -> None:
    """Insert new runs and their first step runs, in one transaction."""
    if not (runs or rows):
        return
    if _is_postgres(using):
        postgres.insert(using, runs, rows)
    else:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            _insert(using, cursor, Run, runs)
            _insert(using, cursor, StepRun, rows)
    _note_saved(using, (*runs, *rows))


def _is_postgres(using: str) -> bool:
    return connections[using].vendor == "postgresql"


def _note_saved(using: str, rows: Iterable[Run | StepRun]) -> None:
    for row in rows:
        row._state.adding, row._state.db = False, using


def _write(using: str, entries: Sequence[Entry]) -> set[UUID]:
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            _update(using, cursor, Run, [(each.run_values, _gate(each)) for each in entries])
            ours = [(each.row_values, {"id": each.row.pk, "lease_token": each.token}) for each in entries]
            _update(using, cursor, StepRun, ours)
            _insert(using, cursor, StepRun, [row for each in entries for row in each.created])
    except _Missed:
        return set()
    return {each.run.pk for each in entries}


def _take(using: str, picks: Sequence[Pick]) -> set[UUID]:
    passed = set()
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            for each in {each.run.pk: each for each in picks}.values():
                if _update_one(using, cursor, Run, (each.run_values, _gate(each))):
                    passed.add(each.run.pk)
            as_read = [
                (each.row_values, {"id": each.row.pk, "status": each.row.status, "due_at": each.row.due_at})
                for each in picks
                if each.run.pk in passed
            ]
            _update(using, cursor, StepRun, as_read)
    except _Missed:
        return set()
    return passed


def _gate(each: Entry | Pick) -> dict[str, Any]:
    return {"id": each.run.pk, "revision": each.run.revision}


def _update(using: str, cursor: CursorWrapper, model: Model, changes: Iterable[Change]) -> None:
    """Update rows in the order given; raises ``_Missed`` when one of them is not as it was read."""
    for shape, like in groupby(changes, key=_shape):
        params = [_parameters(using, model, change) for change in like]
        cursor.executemany(_update_sql(using, model, *shape), params)
        if cursor.rowcount < len(params):
            raise _Missed


def _update_one(using: str, cursor: CursorWrapper, model: Model, change: Change) -> bool:
    cursor.execute(_update_sql(using, model, *_shape(change)), _parameters(using, model, change))
    return bool(cursor.rowcount > 0)


def _shape(change: Change) -> tuple[tuple[str, ...], tuple[str, ...]]:
    values, demanded = change
    return tuple(values), tuple(demanded)


def _parameters(using: str, model: Model, change: Change) -> list[Any]:
    columns, connection = columns_of(using, model), connections[using]
    return [columns[name].prepare(value, connection) for part in change for name, value in part.items()]


@lru_cache(maxsize=256)
def _update_sql(using: str, model: Model, names: tuple[str, ...], demanded: tuple[str, ...]) -> str:
    columns = columns_of(using, model)
    values = ", ".join(f"{columns[name].sql} = %s" for name in names)
    wanted = " AND ".join(f"{columns[name].sql} = %s" for name in demanded)
    return f"UPDATE {table_of(using, model)} SET {values} WHERE {wanted}"


def _insert(using: str, cursor: CursorWrapper, model: Model, rows: Sequence[Run] | Sequence[StepRun]) -> None:
    if not rows:
        return
    columns, connection = columns_of(using, model).values(), connections[using]
    params = [[each.prepare(getattr(row, each.attribute), connection) for each in columns] for row in rows]
    cursor.executemany(_insert_sql(using, model), params)


@lru_cache(maxsize=32)
def _insert_sql(using: str, model: Model) -> str:
    columns = columns_of(using, model).values()
    names, places = ", ".join(each.sql for each in columns), ", ".join("%s" for _ in columns)
    return f"INSERT INTO {table_of(using, model)} ({names}) VALUES ({places})"
