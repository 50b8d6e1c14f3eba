"""What 100,000 runs that wait for an event cost the clock: milliseconds of a tick without and with them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime

from django.db import connection
from django.utils import timezone

from django_workflow import define, process
from django_workflow.engine.tick import tick
from django_workflow.models import Run, StepRun, Workflow

WAITING = 100_000
BATCH = 5000


def measure(rounds: int) -> dict[str, float]:
    """Return the milliseconds of a tick, and of the rare sweeps for what a crash left out."""
    figures = {"tick, 0 waiting": _median(rounds * 4, _tick), "with sweeps, 0 waiting": _sweep()}
    _insert_waiting()
    figures["tick, 100,000 waiting"] = _median(rounds * 4, _tick)
    figures["with sweeps, 100,000 waiting"] = _sweep()
    Run.objects.filter(workflow__name="waits").delete()
    return figures


def _median(times: int, act: Callable[[], None]) -> float:
    act()
    return statistics.median(_milliseconds(act) for _ in range(times))


def _milliseconds(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def _tick() -> None:
    tick("default", is_stopping=lambda: False)


def _sweep() -> float:
    """Return the time of a tick that also does what is done every ten seconds and every five minutes."""
    process.forget()
    return _milliseconds(_tick)


def _insert_waiting() -> None:
    workflow = define("waits", steps=[{"name": "wait", "type": "flow.wait", "with": {"event": "go"}}])
    workflow.refresh_from_db()
    now = timezone.now()
    for _ in range(WAITING // BATCH):
        runs = [_make_run(workflow, now) for _ in range(BATCH)]
        Run.objects.bulk_create(runs)
        StepRun.objects.bulk_create([_make_row(run, now) for run in runs])
    # What was just written is put in order now, and not while the clock is measured.
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        for command in ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)" if is_sqlite else "CHECKPOINT"):
            cursor.execute(command)


def _make_run(workflow: Workflow, now: datetime) -> Run:
    return Run(
        workflow=workflow,
        version_id=workflow.published_id,
        status="waiting",
        step="wait",
        revision=2,
        created_at=now,
        started_at=now,
    )


def _make_row(run: Run, now: datetime) -> StepRun:
    return StepRun(
        run=run,
        step="wait",
        status="waiting",
        waiting_for="event",
        queue="default",
        awaits={"events": ["go"], "shared": False, "until": None},
        created_at=now,
        started_at=now,
    )
