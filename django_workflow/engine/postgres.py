"""Recordings, claims and new runs on PostgreSQL: one statement each, and so one round trip in autocommit.

A statement sees one snapshot, but a row that it had to wait for is read again, and asked again for what is
demanded of it: so the run's revision guards all the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django.db import connections

from ..models import Run, StepRun
from .columns import Column, Model, columns_of, table_of
from .entries import Entry, Pick

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What is demanded of the step run before anything is written, and whether a locked run is left out."""

    names: Names
    skips_locked: bool


OURS = Proof(names=("lease_token",), skips_locked=False)
AS_READ = Proof(names=("status", "due_at"), skips_locked=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The columns that any entry of a batch changes, and those of them that not every entry changes."""

    run: Names
    step: Names
    some_run: Names = ()
    some_step: Names = ()


def write(using: str, entries: Sequence[Entry]) -> set[UUID]:
    """Write recordings; return the keys of the runs that passed: of the others nothing is written."""
    proofs = [(each.token,) for each in entries]
    created = [row for each in entries for row in each.created]
    if len(entries) == 1 and len(created) <= 1:
        return _change_one(using, entries[0], OURS, proofs[0], created)
    return _change_many(using, entries, OURS, proofs, created)


def take(using: str, picks: Sequence[Pick]) -> set[UUID]:
    """Claim step runs; return the keys of the runs that passed: of the others nothing is written."""
    proofs = [(each.row.status, each.row.due_at) for each in picks]
    if len(picks) == 1:
        return _change_one(using, picks[0], AS_READ, proofs[0], ())
    return _change_many(using, picks, AS_READ, proofs, ())


def change(using: str, changes: Sequence[tuple[UUID, Mapping[str, Any]]]) -> None:
    """Change step runs, by their keys."""
    names, some = _changed([values for _key, values in changes])
    documents = [
        {"step_id": key}
        | {f"step_{name}": value for name, value in values.items()}
        | {f"sets_step_{name}": True for name in some if name in values}
        for key, values in changes
    ]
    with connections[using].cursor() as cursor:
        params = [json.dumps(documents, default=_as_text)]
        cursor.execute(_change_sql(using, names, some, _room(len(changes))), params)


@lru_cache(maxsize=64)
def _change_sql(using: str, names: Names, some: Names, room: int) -> str:
    step = columns_of(using, StepRun)
    columns = ", ".join(
        [
            f"step_id {step['id'].type}",
            *(f"step_{name} {step[name].type}" for name in names),
            *(f"sets_step_{name} boolean" for name in some),
        ]
    )
    return (
        "WITH entry AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json)"
        f" AS entry ({columns}) LIMIT {room})"
        f" UPDATE {table_of(using, StepRun)} AS step SET {_assigned(step, 'step', names, some)}"
        f" FROM entry WHERE step.{step['id'].sql} = entry.step_id"
    )


def insert(using: str, runs: Sequence[Run], rows: Sequence[StepRun]) -> None:
    """Insert new runs and their first step runs."""
    sql = f"WITH created AS ({_insert_sql(using, Run)}) {_insert_sql(using, StepRun)}"
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [_documents(using, Run, runs), _documents(using, StepRun, rows)])


def _ask(using: str, sql: str, params: Sequence[Any]) -> set[UUID]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        return {key for (key,) in cursor.fetchall()}


def _change_one(
    using: str, each: Entry | Pick, proof: Proof, proven: Sequence[Any], created: Sequence[StepRun]
) -> set[UUID]:
    columns = columns_of(using, StepRun).items()
    fresh = {name: getattr(row, column.attribute) for row in created for name, column in columns}
    fresh = {name: value for name, value in fresh.items() if value is not None}
    shape = Shape(run=tuple(each.run_values), step=tuple(each.row_values))
    params = [
        *_prepared(using, Run, each.run_values.items()),
        each.run.pk,
        each.run.revision,
        each.row.pk,
        *_prepared(using, StepRun, zip(proof.names, proven, strict=True)),
        *_prepared(using, StepRun, each.row_values.items()),
        each.row.pk,
        *_prepared(using, StepRun, fresh.items()),
    ]
    return _ask(using, _one_sql(using, shape, proof, tuple(fresh)), params)


def _prepared(using: str, model: Model, values: Iterable[tuple[str, Any]]) -> list[Any]:
    columns, connection = columns_of(using, model), connections[using]
    return [columns[name].prepare(value, connection) for name, value in values]


@lru_cache(maxsize=256)
def _one_sql(using: str, shape: Shape, proof: Proof, created: Names) -> str:
    """Return the statement for one run: with the values in it it is planned in half the time."""
    run, step = columns_of(using, Run), columns_of(using, StepRun)
    runs, steps = table_of(using, Run), table_of(using, StepRun)
    run_key, step_key = run["id"].sql, step["id"].sql
    proven = " AND ".join(f"{step[name].sql} = %s" for name in proof.names)
    gate = (
        f"{run_key} = %s AND {run['revision'].sql} = %s"
        f" AND EXISTS (SELECT 1 FROM {steps} WHERE {step_key} = %s AND {proven})"
    )
    if proof.skips_locked:
        gate = f"{run_key} = (SELECT {run_key} FROM {runs} WHERE {gate} FOR NO KEY UPDATE SKIP LOCKED)"
    parts = [
        f"passed AS (UPDATE {runs} SET {_places(run, shape.run)} WHERE {gate} RETURNING {run_key} AS id)",
        f"changed AS (UPDATE {steps} AS step SET {_places(step, shape.step)}"
        f" FROM passed WHERE step.{step_key} = %s)",
    ]
    if created:
        names = ", ".join(step[name].sql for name in created)
        values = ", ".join(f"%s::{step[name].type}" for name in created)
        parts.append(f"created AS (INSERT INTO {steps} ({names}) SELECT {values} FROM passed)")
    return f"WITH {', '.join(parts)} SELECT id FROM passed"


def _places(columns: Mapping[str, Column], names: Names) -> str:
    return ", ".join(f"{columns[name].sql} = %s" for name in names)


def _change_many(
    using: str,
    entries: Sequence[Entry | Pick],
    proof: Proof,
    proofs: Sequence[Sequence[Any]],
    created: Sequence[StepRun],
) -> set[UUID]:
    shape = _shape(entries)
    documents = [
        _document(each, shape, zip(proof.names, proven, strict=True))
        for each, proven in zip(entries, proofs, strict=True)
    ]
    params = [json.dumps(documents, default=_as_text)]
    if created:
        params.append(_documents(using, StepRun, created))
    sql = _many_sql(using, shape, proof, bool(created), _room(len(entries)))
    return _ask(using, sql, params)


def _room(count: int) -> int:
    """Return a power of two as the limit: so there are few different statements."""
    return 1 << (count - 1).bit_length()


def _document(each: Entry | Pick, shape: Shape, demanded: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    document = {"run_id": each.run.pk, "read_revision": each.run.revision, "step_id": each.row.pk}
    document |= {f"read_{name}": value for name, value in demanded}
    document |= {f"run_{name}": value for name, value in each.run_values.items()}
    document |= {f"step_{name}": value for name, value in each.row_values.items()}
    document |= {f"sets_run_{name}": True for name in shape.some_run if name in each.run_values}
    document |= {f"sets_step_{name}": True for name in shape.some_step if name in each.row_values}
    return document


def _shape(entries: Sequence[Entry | Pick]) -> Shape:
    run, some_run = _changed([each.run_values for each in entries])
    step, some_step = _changed([each.row_values for each in entries])
    return Shape(run=run, step=step, some_run=some_run, some_step=some_step)


def _changed(entries: Sequence[Mapping[str, Any]]) -> tuple[Names, Names]:
    names = sorted({name for values in entries for name in values})
    return tuple(names), tuple(name for name in names if any(name not in values for values in entries))


@lru_cache(maxsize=256)
def _many_sql(using: str, shape: Shape, proof: Proof, has_created: bool, room: int) -> str:
    """Return the statement for several runs, which locks them in the order of their keys."""
    run, step = columns_of(using, Run), columns_of(using, StepRun)
    runs, steps = table_of(using, Run), table_of(using, StepRun)
    run_key, step_key = run["id"].sql, step["id"].sql
    proven = " AND ".join(f"step.{step[name].sql} = entry.read_{name}" for name in proof.names)
    skip = " SKIP LOCKED" if proof.skips_locked else ""
    parts = [
        # The limit is for the planner, which would think of more entries, and read a whole table for them.
        "entry AS MATERIALIZED (SELECT * FROM json_to_recordset(%s::json)"
        f" AS entry ({_entry_columns(using, shape, proof)}) LIMIT {room})",
        f"locked AS MATERIALIZED (SELECT run.{run_key} AS id FROM entry"
        f" JOIN {runs} AS run ON run.{run_key} = entry.run_id"
        f" AND run.{run['revision'].sql} = entry.read_revision"
        f" JOIN {steps} AS step ON step.{step_key} = entry.step_id AND {proven}"
        f" ORDER BY run.{run_key} FOR NO KEY UPDATE OF run{skip})",
        f"passed AS (UPDATE {runs} AS run SET {_assigned(run, 'run', shape.run, shape.some_run)}"
        f" FROM entry JOIN locked ON locked.id = entry.run_id WHERE run.{run_key} = entry.run_id"
        f" RETURNING run.{run_key} AS id)",
        f"changed AS (UPDATE {steps} AS step SET {_assigned(step, 'step', shape.step, shape.some_step)}"
        f" FROM entry JOIN passed ON passed.id = entry.run_id WHERE step.{step_key} = entry.step_id)",
    ]
    if has_created:
        parts.append(
            f"created AS ({_insert_sql(using, StepRun)} JOIN passed ON passed.id = new.{step['run'].sql})"
        )
    return f"WITH {', '.join(parts)} SELECT id FROM passed"


def _entry_columns(using: str, shape: Shape, proof: Proof) -> str:
    run, step = columns_of(using, Run), columns_of(using, StepRun)
    return ", ".join(
        [
            f"run_id {run['id'].type}, read_revision {run['revision'].type}, step_id {step['id'].type}",
            *(f"read_{name} {step[name].type}" for name in proof.names),
            *(f"run_{name} {run[name].type}" for name in shape.run),
            *(f"step_{name} {step[name].type}" for name in shape.step),
            *(f"sets_run_{name} boolean" for name in shape.some_run),
            *(f"sets_step_{name} boolean" for name in shape.some_step),
        ]
    )


def _assigned(columns: Mapping[str, Column], prefix: str, names: Names, some: Names) -> str:
    """Return what to set; where not every entry changes a column, the rows of the others keep their own."""
    values = {name: f"entry.{prefix}_{name}" for name in names}
    for name in some:
        own = f"{prefix}.{columns[name].sql}"
        values[name] = f"CASE WHEN entry.sets_{prefix}_{name} THEN {values[name]} ELSE {own} END"
    return ", ".join(f"{columns[name].sql} = {value}" for name, value in values.items())


@cache
def _insert_sql(using: str, model: Model) -> str:
    columns = columns_of(using, model).values()
    names, values = ", ".join(each.sql for each in columns), ", ".join(f"new.{each.sql}" for each in columns)
    types = ", ".join(f"{each.sql} {each.type}" for each in columns)
    rows = f"json_to_recordset(%s::json) AS new ({types})"
    return f"INSERT INTO {table_of(using, model)} ({names}) SELECT {values} FROM {rows}"


def _documents(using: str, model: Model, rows: Iterable[Run] | Iterable[StepRun]) -> str:
    """Return rows as JSON; a column that is left out is NULL."""
    columns = [(each.field.column, each.attribute) for each in columns_of(using, model).values()]
    return json.dumps(
        [{name: value for name, key in columns if (value := getattr(row, key)) is not None} for row in rows],
        default=_as_text,
    )


def _as_text(value: Any) -> str:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is nothing that PostgreSQL is given as JSON")
