"""Claims: a step run taken with token and lease, behind the run's gate (ENGINE.md rules 1, 2, 8)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from ..conf import get_settings
from ..definition.program import Program
from ..definition.spec import StepSpec
from ..models import Run, StepRun
from ..registry import Handler, get_handler
from ..status import RunStatus, StepStatus, WaitingFor
from .gate import StaleClaim, lock_run, pass_gate
from .moves import RunState
from .now import database_now
from .programs import get_program
from .rows import run_state
from .telling import tell_started

# Asked when a step is recorded: may this process keep what follows, or is it ready for any other?
Keep = Callable[[], bool]


def always() -> bool:
    """Keep what follows, whatever the time."""
    return True


@dataclass(slots=True, kw_only=True)
class Claim:
    """A step run that this process holds, with its run as last read.

    ``locked``: the gate was passed in this transaction.
    """

    using: str
    run: Run
    step_run: StepRun
    program: Program
    has_crashed: bool = False
    locked: bool = False
    # An atomic handler changed its own run, such as by cancel_run().
    is_stale: bool = False

    @property
    def token(self) -> UUID:
        """The lease token that proves the claim."""
        assert self.step_run.lease_token is not None
        return self.step_run.lease_token

    @property
    def spec(self) -> StepSpec:
        """The step's part of the definition."""
        return self.program.graph.steps[self.step_run.step]

    @property
    def handler(self) -> Handler | None:
        """The handler of the step's type; None where this process does not know it."""
        return get_handler(self.spec.type)

    def run_state(self) -> RunState:
        """Return the facts of the run that plan wants."""
        number = self.run.revision + (0 if self.locked else 1)
        return run_state(self.run, self.program.spec, number=number)


def claim_due(using: str, *, run_id: UUID | None = None, queue: str | None = None) -> Claim | None:
    """Claim the oldest due step run, of one run or one queue where given; None where nothing is due.

    A run that somebody else changes at the same moment is looked at again.
    """
    while True:
        now = database_now(using)
        due = StepRun.objects.using(using).due(now).exclude(run__status=RunStatus.PAUSED)
        if run_id is not None:
            due = due.filter(run_id=run_id)
        if queue is not None:
            due = due.filter(queue=queue)
        row = due.select_related("run__workflow").order_by("due_at", "id").first()
        if row is None:
            return None
        try:
            return _claim(using, row, now)
        except StaleClaim:
            continue


def _claim(using: str, row: StepRun, now: datetime) -> Claim:
    run = row.run
    assert run.version_id is not None
    has_crashed = row.status == StepStatus.RUNNING
    run_values = {"revision": run.revision + 1, "status": RunStatus.RUNNING, "step": row.step}
    if run.started_at is None:
        run_values["started_at"] = now
    program = get_program(run.version_id, using)
    row_values = _claimed_values(program, row, now, has_crashed)
    with transaction.atomic(using=using):
        pass_gate(using, run, run_values)
        guarded = StepRun.objects.using(using).filter(pk=row.pk, status=row.status, due_at=row.due_at)
        if not guarded.update(**row_values):
            raise StaleClaim
    put(run, run_values)
    put(row, row_values)
    if "started_at" in run_values:
        tell_started(using, run)
    return Claim(using=using, run=run, step_run=row, program=program, has_crashed=has_crashed)


def _claimed_values(program: Program, row: StepRun, now: datetime, has_crashed: bool) -> dict[str, Any]:
    values = lease_values(program, row, now)
    if has_crashed:
        values["crashes"] = row.crashes + 1
    if (
        row.status == StepStatus.WAITING
        and row.waiting_for == WaitingFor.TIMER
        and row.started_at is not None
    ):
        values["event"] = {"name": "timer", "payload": None, "at": now.isoformat()}
    return values


def lease_values(program: Program, row: StepRun, now: datetime) -> dict[str, Any]:
    """Return the columns of a step run that this process claims at ``now``.

    A handler that must not run twice has its start committed right before the call instead.
    """
    until = now + get_settings().LEASE
    handler = get_handler(program.graph.steps[row.step].type)
    starts_now = row.started_at is None and (handler is None or handler.rerun_after_crash)
    return {
        "status": StepStatus.RUNNING,
        "waiting_for": "",
        "lease_token": uuid4(),
        "lease_until": until,
        "due_at": until,
        "worker": worker_name(),
        "started_at": now if starts_now else row.started_at,
    }


def lock_claim(claim: Claim) -> None:
    """Lock the run of a claim, and read both rows again.

    Raises ``StaleClaim`` when the step run is no longer ours.
    """
    claim.run = lock_run(claim.using, claim.run.pk)
    row = StepRun.objects.using(claim.using).filter(pk=claim.step_run.pk, lease_token=claim.token).first()
    if row is None:
        raise StaleClaim
    row.run = claim.run
    claim.step_run = row
    claim.locked = True


def unlock(claim: Claim) -> None:
    """Take back in memory the lock of a transaction that was rolled back, and the revision it raised."""
    if claim.locked:
        claim.locked = False
        claim.run.revision -= 1


def put(row: Run | StepRun, values: dict[str, Any]) -> None:
    """Set on the row in memory what was written to the database."""
    for name, value in values.items():
        setattr(row, name, value)


@cache
def _host() -> str:
    return socket.gethostname()[:200]


def worker_name() -> str:
    """Return the name that a step run keeps of who executes it: host and process."""
    return f"{_host()}:{os.getpid()}"
