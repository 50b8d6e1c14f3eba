"""Steps and starts per second, inline, beside bare loops that write the same rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from django.db import connection, transaction
from django.utils import timezone

from django_workflow import define, step, trigger, trigger_many
from django_workflow.models import Run, StepRun, Workflow
from django_workflow.models.keys import uuid7

STEPS = 10


@step("bench.nothing")
def do_nothing() -> None:
    """Do nothing."""


def publish() -> Workflow:
    """Publish the workflow of ten steps that do nothing."""
    return define(
        "bench", steps=[{"name": f"step_{place}", "type": "bench.nothing"} for place in range(STEPS)]
    )


def drive_runs(runs: int) -> Callable[[], int]:
    """Return a candidate that triggers and drives ``runs`` runs."""

    def candidate() -> int:
        for _ in range(runs):
            run = trigger("bench", {"number": 1})
            assert run.status == "done", run.error
        return runs * STEPS

    return candidate


def write_with_orm(runs: int) -> Callable[[], int]:
    """Return a candidate that writes the rows of such runs in a bare loop with the ORM: a transaction a
    step."""
    workflow = Workflow.objects.get(name="bench")

    def candidate() -> int:
        for _ in range(runs):
            now = timezone.now()
            run = Run(
                workflow=workflow, version_id=workflow.published_id, input={"number": 1}, state={"number": 1}
            )
            run.created_at = now
            with transaction.atomic():
                run.save(force_insert=True)
                row = new_row(run, 0)
                row.save(force_insert=True)
            for place in range(STEPS):
                with transaction.atomic():
                    write_step(run, row)
                    if place + 1 < STEPS:
                        row = new_row(run, place + 1)
                        row.save(force_insert=True)
        return runs * STEPS

    return candidate


def new_row(run: Run, place: int) -> StepRun:
    """Return a step run as the engine inserts it: claimed."""
    now = timezone.now()
    until = now + timedelta(seconds=60)
    return StepRun(
        run=run,
        step=f"step_{place}",
        status="running",
        created_at=now,
        started_at=now,
        due_at=until,
        lease_until=until,
        lease_token=uuid4(),
        worker="bench",
    )


def write_step(run: Run, row: StepRun) -> None:
    """Write what a recording writes: the run behind its revision, the step run behind its token."""
    now = timezone.now()
    Run.objects.filter(pk=run.pk, revision=run.revision).update(
        revision=run.revision + 1, status="running", step=row.step, started_at=now
    )
    run.revision += 1
    StepRun.objects.filter(pk=row.pk, lease_token=row.lease_token).update(
        status="done",
        waiting_for="",
        due_at=None,
        current=True,
        number=run.revision,
        started_at=row.started_at,
        finished_at=now,
        lease_token=None,
        lease_until=None,
        params={},
        output=None,
    )


def write_with_driver(runs: int) -> Callable[[], int]:
    """Return a candidate that writes the same rows with the driver: the ORM's statements, made once."""
    candidate = write_with_orm(1)
    statements: list[tuple[str, tuple[object, ...]]] = []

    def keep(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
        statements.append((sql, tuple(params or ())))  # type: ignore[arg-type]
        return execute(sql, params, many, context)

    with connection.execute_wrapper(keep):
        candidate()
    rounds = split_rounds(statements)
    run_id, row_ids = ids_of(statements)

    def replay() -> int:
        for _ in range(runs):
            names = {run_id: uuid7(), **{each: uuid7() for each in row_ids}}
            for group in rounds:
                with transaction.atomic(), connection.cursor() as cursor:
                    for sql, params in group:
                        cursor.cursor.execute(sql, tuple(rename(each, names) for each in params))
        return runs * STEPS

    return replay


def split_rounds(
    statements: list[tuple[str, tuple[object, ...]]],
) -> list[list[tuple[str, tuple[object, ...]]]]:
    """Return the statements of each transaction: the two inserts, then update, update and insert for each
    step."""
    written = [each for each in statements if each[0].startswith(("INSERT", "UPDATE"))]
    return [written[:2], *(written[place : place + 3] for place in range(2, len(written), 3))]


def ids_of(statements: list[tuple[str, tuple[object, ...]]]) -> tuple[object, list[object]]:
    """Return the key of the run and those of its step runs, as the driver is given them."""
    inserts = [params for sql, params in statements if sql.startswith("INSERT")]
    return inserts[0][0], [params[0] for params in inserts[1:]]


def rename(value: object, names: dict[object, object]) -> object:
    """Return a fresh key for one that was recorded, in the form that the driver takes."""
    try:
        fresh = names.get(value)
    except TypeError:
        return value
    if fresh is None:
        return value
    return fresh.hex if isinstance(value, str) else fresh  # type: ignore[attr-defined]


def start_runs(count: int) -> Callable[[], int]:
    """Return a candidate that triggers ``count`` runs without driving them: as one transaction that is rolled
    back."""

    def candidate() -> int:
        for _ in range(count):
            with transaction.atomic():
                trigger("bench", {"number": 1})
                transaction.set_rollback(True)
        return count

    return candidate


def start_many(count: int) -> Callable[[], int]:
    """Return a candidate that starts ``count`` runs at once."""

    def candidate() -> int:
        with transaction.atomic():
            trigger_many("bench", [{"number": place} for place in range(count)])
            transaction.set_rollback(True)
        return count

    return candidate
