"""What ``manage.py demo_rq`` shows: the step runs' rows as they change, and a worker that is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from uuid import UUID

from django_workflow.models import Run, StepRun

from ..processes import Process, Processes

MARKS = {"done": "✓", "failed": "✗"}
SLOW_STEP = "charge"

Fact = tuple[str, str, int]


class Watch:
    """Tells what the rows say, and once kills the worker of a payment."""

    def __init__(self, processes: Processes, tell: Callable[[str], None]) -> None:
        self._processes = processes
        self._tell = tell
        self._began = time.monotonic()
        self._seen: dict[UUID, Fact] = {row.pk: _fact_of(row) for row in _rows()}
        self._killed_at = 0.0
        self._victim: UUID | None = None
        self._is_recovered = False

    def look(self) -> bool:
        """Tell what is new since the last look; return whether all runs are over."""
        is_over = not Run.objects.active().exists()
        rows = _rows()
        for row in rows:
            if self._seen.get(row.pk) != _fact_of(row):
                self._seen[row.pk] = _fact_of(row)
                self._tell_change(row)
        if self._victim is None:
            self._kill_one(rows)
        return is_over

    def _tell_change(self, row: StepRun) -> None:
        later = f"{time.monotonic() - self._killed_at:.1f} s after the kill"
        if row.pk == self._victim and row.crashes and not self._is_recovered:
            self._is_recovered = True
            self._say(f"the clock {_order_of(row)}  ↻ {row!s:<8} its lease has expired, {later}")
        if row.status in MARKS and row.index < 0:
            note = f"taken up again, {later}" if row.pk == self._victim else row.error
            self._say(f"{self._worker_of(row):<9} {_order_of(row)}  {MARKS[row.status]} {row!s:<8} {note}")

    def _kill_one(self, rows: Iterable[StepRun]) -> None:
        """Kill a worker that waits for the payment provider, once a payment was made."""
        payments = [row for row in rows if row.step == SLOW_STEP]
        if not any(row.status == "done" for row in payments):
            return
        for row in payments:
            worker = self._processes.owner_of(_pid_of(row)) if row.status == "running" else None
            if worker is not None and _is_killed(worker, row):
                self._killed_at, self._victim = time.monotonic(), row.pk
                self._say(f"kill -9   {_order_of(row)}  ☠ {row!s:<8} {worker.name} dies in the middle of it")
                return

    def _worker_of(self, row: StepRun) -> str:
        process = self._processes.owner_of(_pid_of(row))
        return process.name if process is not None else f"pid {_pid_of(row)}"

    def _say(self, text: str) -> None:
        self._tell(f"  {time.monotonic() - self._began:5.1f} s  {text}")


def _rows() -> list[StepRun]:
    return list(StepRun.objects.select_related("run").order_by("number", "started_at"))


def _fact_of(row: StepRun) -> Fact:
    return row.status, row.worker, row.crashes


def _is_killed(worker: Process, row: StepRun) -> bool:
    """Kill the worker if it is in the middle of the step: frozen, it cannot record it meanwhile."""
    worker.freeze()
    if StepRun.objects.filter(pk=row.pk, lease_token=row.lease_token, status="running").exists():
        worker.kill()
        return True
    worker.thaw()
    return False


def _pid_of(row: StepRun) -> int:
    return int(row.worker.rpartition(":")[2] or 0)


def _order_of(row: StepRun) -> str:
    """Return what the run is for, as its key says it: ``order-1`` or ``signup-2``."""
    return str(row.run.key).replace("-", " ").ljust(8)
