"""Statements write what the ORM would write, and nothing where a run or a step run has changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_workflow.engine.statements import Entry, Pick, insert, take, write
from django_workflow.models import Run, StepRun, Workflow
from django_workflow.status import RunStatus, StepStatus
from tests.support.runs import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
LATER = datetime(2031, 1, 1, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=30)))
TEXT = """it's a "quote" \\ backslash \\n 100% %s %(name)s {braces} $1 :name ? é 😀 \t\r\n <null> NULL"""
JSON: list[Any] = [
    {},
    [],
    0,
    False,
    "",
    "null",
    TEXT,
    {"$ref": "app.model:1", "$deleted": True, TEXT: TEXT, "": None},
    {"big": 2**70, "small": -(2**63), "float": 0.1, "tiny": 5e-324, "huge": 1.5e300, "whole": 1.0},
    [None, [None, {"deep": [{"a": [1, [2, [3]]]}]}]],
    {"z": 1, "a": 2, "same": "\u00e9", "other": "e\u0301", "line": "\u2028"},
    None,
]
BIG = 2**62 + 1


@pytest.fixture
def workflow() -> Workflow:
    return Workflow.objects.create(name="flow")


def make_run(workflow: Workflow, **fields: Any) -> Run:
    return Run(workflow=workflow, created_at=NOW, **fields)


def make_row(run: Run, **fields: Any) -> StepRun:
    return StepRun(run=run, **{"step": "first", "created_at": NOW, "due_at": NOW, **fields})


def save(using: str, rows: Sequence[Any]) -> None:
    for row in rows:
        row.save(using=using, force_insert=True)


def ready(workflow: Workflow, count: int) -> list[StepRun]:
    """Return pending step runs of as many runs."""
    rows = [make_row(make_run(workflow)) for _ in range(count)]
    for row in rows:
        save("default", [row.run, row])
    return rows


def claimed(workflow: Workflow, count: int) -> list[StepRun]:
    """Return running step runs of as many runs."""
    rows = ready(workflow, count)
    for row in rows:
        row.status, row.lease_token, row.lease_until = StepStatus.RUNNING, uuid4(), NOW
        row.save()
    return rows


def entry(row: StepRun, *, created: int = 0, **fields: Any) -> Entry:
    """Return the recording of a step run that is done, with ``created`` step runs that follow."""
    done = {
        "status": StepStatus.DONE,
        "finished_at": NOW,
        "due_at": None,
        "lease_token": None,
        "lease_until": None,
    }
    assert row.lease_token is not None
    values: dict[str, Any] = {
        "run": row.run,
        "run_values": {"revision": row.run.revision + 1, "step": "next"},
        "row": row,
        "token": row.lease_token,
        "row_values": {**done, "number": row.run.revision + 1},
        "created": [make_row(row.run, step="next", index=index) for index in range(created)],
    }
    return Entry(**{**values, **fields})


def pick(row: StepRun, **fields: Any) -> Pick:
    """Return the claim of a step run."""
    leased = {"status": StepStatus.RUNNING, "lease_token": uuid4(), "lease_until": LATER, "due_at": LATER}
    values: dict[str, Any] = {
        "run": row.run,
        "run_values": {"revision": row.run.revision + 1, "status": RunStatus.RUNNING, "step": row.step},
        "row": row,
        "row_values": {**leased, "waiting_for": "", "worker": "host:1", "solo": True},
    }
    return Pick(**{**values, **fields})


def stored(model: type[Run] | type[StepRun], key: UUID, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the row as the database has it: JSON as its text and as its value."""
    columns = [field.column for field in model._meta.concrete_fields if field.name not in without]
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        names = ", ".join(map(quote, columns))
        field = model._meta.pk
        assert field is not None
        cursor.execute(
            f"SELECT {names} FROM {quote(model._meta.db_table)} WHERE {quote('id')} = %s",
            [field.get_db_prep_value(key, connection)],
        )
        return dict(zip(columns, cursor.fetchone(), strict=True))


def full_run(workflow: Workflow, value: Any, **fields: Any) -> Run:
    """Return a run with every column set; ``value`` in those of JSON."""
    texts = {"error": TEXT, "error_type": "a.b", "subject_type": "app.model", "subject_id": "7"}
    whole = {"state": {"value": value}, "input": {"value": value}, "output": value, "jumps": value}
    times = {"deadline": LATER, "started_at": NOW, "finished_at": LATER}
    return make_run(workflow, **texts, **whole, **times, status="done", revision=BIG, step="s", **fields)


def full_row(run: Run, value: Any, **fields: Any) -> StepRun:
    """Return a step run with every column set; ``value`` in those of JSON."""
    names = ("item", "params", "output", "logs", "progress", "state_changes", "event")
    texts = {
        "error": TEXT,
        "error_type": "a.b",
        "traceback": TEXT,
        "worker": "w",
        "job_id": "j",
        "queue": "q",
    }
    counts = {"visit": 3, "index": 2, "attempt": 4, "counted_from": 2, "postponed": 1, "crashes": 1}
    times = {"due_at": LATER, "lease_until": NOW, "started_at": NOW}
    flags = {"current": False, "solo": True, "handled": True, "began": BIG, "number": BIG}
    values = {**dict.fromkeys(names, value), **texts, **counts, **times, **flags}
    return make_row(run, **{**values, "status": "running", "lease_token": uuid4(), "undoes": None, **fields})


@pytest.mark.parametrize("value", JSON, ids=lambda value: type(value).__name__)
def test_inserted_rows_are_those_that_the_orm_inserts(workflow: Workflow, value: Any) -> None:
    run, saved = full_run(workflow, value, key="a"), full_run(workflow, value, key="b")
    row, saved_row = full_row(run, value), full_row(saved, value, lease_token=None)
    saved_row.lease_token = row.lease_token
    insert("default", [run], [row])
    save("default", [saved, saved_row])
    assert stored(Run, run.pk, without=["id", "key"]) == stored(Run, saved.pk, without=["id", "key"])
    without = ["id", "run"]
    assert stored(StepRun, row.pk, without=without) == stored(StepRun, saved_row.pk, without=without)
    assert (run._state.adding, row._state.db) == (False, "default")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("value", JSON, ids=lambda value: type(value).__name__)
def test_recorded_rows_are_those_that_the_orm_updates(workflow: Workflow, value: Any, count: int) -> None:
    rows = claimed(workflow, count + 1)
    saved = rows.pop()
    run_values = {
        "revision": BIG,
        "state": {"value": value},
        "output": value,
        "status": RunStatus.DONE,
        "step": TEXT[:20],
        "started_at": NOW,
        "finished_at": LATER,
    }
    whole = full_row(saved.run, value, status=StepStatus.DONE, finished_at=LATER, lease_token=None)
    kept = {"id", "run", "item", "created_at", "undoes", "visit", "index", "attempt", "queue", "job_id"}
    names = [field.name for field in StepRun._meta.concrete_fields if field.name not in kept]
    row_values = {name: getattr(whole, name) for name in names}
    Run.objects.filter(pk=saved.run.pk).update(**run_values)
    StepRun.objects.filter(pk=saved.pk).update(**row_values)
    entries = [entry(row, run_values=run_values, row_values=row_values) for row in rows]
    assert write("default", entries) == {row.run.pk for row in rows}
    for row in rows:
        assert stored(Run, row.run.pk, without=["id"]) == stored(Run, saved.run.pk, without=["id"])
        mine, theirs = (stored(StepRun, each.pk, without=["id", "run"]) for each in (row, saved))
        assert mine == theirs


@pytest.mark.parametrize("count", [1, 3])
def test_a_taken_step_run_is_the_one_that_the_orm_updates(workflow: Workflow, count: int) -> None:
    rows = ready(workflow, count + 1)
    saved = rows.pop()
    picks = [pick(row) for row in rows]
    for each in picks:
        each.run_values["started_at"] = NOW
        each.row_values |= {
            "started_at": NOW,
            "event": {"name": TEXT},
            "lease_token": None,
            "status": "pending",
        }
    Run.objects.filter(pk=saved.run.pk).update(**picks[0].run_values)
    StepRun.objects.filter(pk=saved.pk).update(**picks[0].row_values)
    assert take("default", picks) == {row.pk for row in rows}
    for row in rows:
        assert stored(Run, row.run.pk, without=["id"]) == stored(Run, saved.run.pk, without=["id"])
        mine, theirs = (stored(StepRun, each.pk, without=["id", "run"]) for each in (row, saved))
        assert mine == theirs


@pytest.mark.parametrize("created", [[1], [0], [2], [1, 1], [0, 3, 1]])
def test_step_runs_that_follow_are_inserted_with_every_column(workflow: Workflow, created: list[int]) -> None:
    entries = [entry(row) for row in claimed(workflow, len(created))]
    for each, number in zip(entries, created, strict=True):
        each.created = [
            full_row(each.run, JSON[index], index=index, undoes=each.row) for index in range(number)
        ]
    expected = [row for each in entries for row in each.created]
    write("default", entries)
    for row in expected:
        assert not row._state.adding
        found = StepRun.objects.get(pk=row.pk)
        assert all(
            getattr(found, field.attname) == getattr(row, field.attname)
            for field in StepRun._meta.concrete_fields
        )
    assert StepRun.objects.count() == len(expected) + len(entries)


def test_a_column_that_an_entry_does_not_change_keeps_what_the_database_has(workflow: Workflow) -> None:
    entries = [entry(row) for row in claimed(workflow, 3)]
    entries[1].run_values |= {"state": {"new": 1}, "output": None}
    entries[2].row_values |= {"output": None, "logs": [1]}
    Run.objects.update(state={"kept": 1}, output={"kept": 2})
    StepRun.objects.update(output=3, logs=[4])
    write("default", entries)
    runs = [Run.objects.get(pk=each.run.pk) for each in entries]
    assert [run.state for run in runs] == [{"kept": 1}, {"new": 1}, {"kept": 1}]
    assert [run.output for run in runs] == [{"kept": 2}, None, {"kept": 2}]
    rows = [StepRun.objects.get(pk=each.row.pk) for each in entries]
    assert [(row.output, row.logs) for row in rows] == [(3, [4]), (3, [4]), (None, [1])]


def raise_revision(row: StepRun) -> None:
    Run.objects.filter(pk=row.run.pk).update(revision=row.run.revision + 1)


def change_token(row: StepRun) -> None:
    StepRun.objects.filter(pk=row.pk).update(lease_token=uuid4())


def drop_token(row: StepRun) -> None:
    StepRun.objects.filter(pk=row.pk).update(lease_token=None, status=StepStatus.PENDING)


def delete_run(row: StepRun) -> None:
    Run.objects.filter(pk=row.run.pk).delete()


def make_later(row: StepRun) -> None:
    StepRun.objects.filter(pk=row.pk).update(due_at=NOW + timedelta(microseconds=1))


def make_waiting(row: StepRun) -> None:
    StepRun.objects.filter(pk=row.pk).update(status=StepStatus.WAITING, waiting_for="timer")


def everything() -> list[dict[str, Any]]:
    """Return all rows of runs and step runs."""
    return [*Run.objects.order_by("pk").values(), *StepRun.objects.order_by("pk").values()]


@pytest.mark.parametrize("change", [raise_revision, change_token, drop_token, delete_run])
@pytest.mark.parametrize("created", [0, 1, 2])
def test_a_recording_that_is_stale_writes_nothing(
    workflow: Workflow, change: Callable[[StepRun], None], created: int
) -> None:
    [row] = claimed(workflow, 1)
    change(row)
    before, stale = everything(), entry(row, created=created)
    assert write("default", [stale]) == set()
    assert everything() == before
    assert all(each._state.adding for each in stale.created)


@pytest.mark.parametrize("change", [raise_revision, change_token, drop_token, delete_run])
def test_a_stale_recording_in_a_batch_is_left_out_or_undoes_all(
    workflow: Workflow, change: Callable[[StepRun], None]
) -> None:
    rows = claimed(workflow, 5)
    entries = [entry(row, created=1) for row in rows]
    change(rows[2])
    before = everything()
    passed = write("default", entries)
    if connection.vendor == "postgresql":
        assert passed == {row.run.pk for row in rows if row is not rows[2]}
        assert StepRun.objects.filter(status=StepStatus.DONE).count() == 4
        assert StepRun.objects.filter(step="next").count() == 4
        assert not StepRun.objects.filter(run_id=rows[2].run.pk, step="next").exists()
    else:
        assert (passed, everything()) == (set(), before)


@pytest.mark.parametrize("change", [raise_revision, make_later, make_waiting, delete_run])
@pytest.mark.parametrize("count", [1, 3])
def test_a_claim_of_what_has_changed_writes_nothing(
    workflow: Workflow, change: Callable[[StepRun], None], count: int
) -> None:
    rows = ready(workflow, count)
    change(rows[0])
    taken = take("default", [pick(row) for row in rows])
    # A step run that changed behind its run's back is a broken rule: elsewhere all is rolled back then.
    others = connection.vendor == "postgresql" or change in {raise_revision, delete_run}
    assert taken == ({row.pk for row in rows[1:]} if others else set())
    assert StepRun.objects.filter(status=StepStatus.RUNNING).count() == len(taken)
    assert Run.objects.filter(status=RunStatus.RUNNING).count() == len(taken)


@pytest.mark.parametrize("together", [1, 20])
def test_step_runs_that_two_threads_take_at_once_are_taken_once(workflow: Workflow, together: int) -> None:
    rows = ready(workflow, 20)
    barrier = Barrier(2, timeout=30)

    def take_all() -> list[UUID]:
        parts = [rows[start : start + together] for start in range(0, len(rows), together)]
        barrier.wait()
        return [key for part in parts for key in take("default", [pick(row) for row in part])]

    mine, theirs = in_threads(take_all, take_all)
    assert len(mine) + len(theirs) == len(rows)
    assert {*mine, *theirs} == {row.pk for row in rows}


@pytest.mark.parametrize("together", [1, 20])
def test_step_runs_that_two_threads_record_at_once_are_recorded_once(
    workflow: Workflow, together: int
) -> None:
    rows = claimed(workflow, 20)
    barrier = Barrier(2, timeout=30)

    def write_all(step: str) -> list[UUID]:
        entries = [entry(row, created=1) for row in rows]
        for each in entries:
            each.run_values["step"] = step
        # Two batches in opposite order must not wait for each other.
        parts = [entries[start : start + together] for start in range(0, len(entries), together)]
        parts = parts if step == "a" else [part[::-1] for part in parts]
        barrier.wait()
        return [key for part in parts for key in write("default", part)]

    mine, theirs = in_threads(lambda: write_all("a"), lambda: write_all("b"))
    assert len(mine) + len(theirs) == len(rows)
    assert set(mine) == set(Run.objects.filter(step="a").values_list("pk", flat=True))
    assert StepRun.objects.filter(step="next").count() == len(rows)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere a claim waits for the lock")
@pytest.mark.parametrize("count", [1, 3])
def test_a_run_that_is_locked_is_not_waited_for(workflow: Workflow, count: int) -> None:
    rows = ready(workflow, count)

    def take_impatiently() -> set[UUID]:
        connection.cursor().execute("SET lock_timeout = '5s'")
        return take("default", [pick(row) for row in rows])

    with transaction.atomic():
        Run.objects.filter(pk=rows[0].run.pk).update(step="locked")
        [taken] = in_threads(take_impatiently)
    assert taken == {row.pk for row in rows[1:]}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere it is a transaction")
def test_on_postgres_each_is_one_statement(workflow: Workflow) -> None:
    for count in (1, 3):
        taken, recorded = ready(workflow, count), claimed(workflow, count)
        run = make_run(workflow)
        with CaptureQueriesContext(connection) as queries:
            take("default", [pick(row) for row in taken])
            write("default", [entry(row, created=2) for row in recorded])
            insert("default", [run], [make_row(run)])
        assert len(queries) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_a_step_run_that_keeps_its_values_has_passed(workflow: Workflow, count: int) -> None:
    rows = claimed(workflow, count)
    same = {"status": StepStatus.RUNNING, "lease_until": NOW}
    assert write("default", [entry(row, row_values=same) for row in rows]) == {row.run.pk for row in rows}


def test_what_misses_leaves_the_transaction_of_the_caller_usable(workflow: Workflow) -> None:
    stale, good = claimed(workflow, 2)
    raise_revision(stale)
    with transaction.atomic():
        Run.objects.filter(pk=good.run.pk).update(key="kept")
        assert write("default", [entry(stale, created=1)]) == set()
        assert write("default", [entry(good, created=1)]) == {good.run.pk}
    assert Run.objects.get(pk=good.run.pk).key == "kept"


def test_what_the_caller_rolls_back_was_not_written(workflow: Workflow) -> None:
    recorded, taken = claimed(workflow, 2), ready(workflow, 2)
    run, before = make_run(workflow), everything()
    with transaction.atomic():
        write("default", [entry(row, created=1) for row in recorded])
        take("default", [pick(row) for row in taken])
        insert("default", [run], [make_row(run)])
        transaction.set_rollback(True)
    assert everything() == before


@pytest.mark.parametrize("count", [1, 2])
def test_what_the_database_refuses_is_an_error_and_nothing_is_written(workflow: Workflow, count: int) -> None:
    entries = [entry(row, created=1) for row in claimed(workflow, count)]
    entries[-1].created[0].attempt = 0
    before = everything()
    with pytest.raises(DatabaseError):
        write("default", entries)
    assert everything() == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps text of any length")
@pytest.mark.parametrize("count", [1, 2])
def test_text_that_is_too_long_is_refused_not_cut(workflow: Workflow, count: int) -> None:
    entries = [entry(row, created=1) for row in claimed(workflow, count)]
    entries[-1].created[0].worker = "w" * 256
    with pytest.raises(DatabaseError):
        write("default", entries)


def test_many_runs_are_inserted_with_the_step_runs_they_have(workflow: Workflow) -> None:
    runs = [make_run(workflow, state={"place": place}) for place in range(300)]
    rows = [make_row(run, index=index) for run in runs[1:] for index in range(2)]
    insert("default", runs, rows)
    assert list(Run.objects.order_by("pk")) == runs
    assert list(StepRun.objects.order_by("pk")) == rows
    assert [run.state["place"] for run in Run.objects.order_by("pk")] == list(range(300))


def test_nothing_to_write_is_no_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert (write("default", []), take("default", [])) == (set(), set())
        insert("default", [], [])
    assert len(queries) == 0
