"""Claims: step runs taken with token and lease, behind their run's gate."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from ..conf import get_settings
from ..definition.program import Program
from ..definition.spec import StepSpec
from ..dispatch import ring
from ..models import Run, StepRun
from ..registry import Handler
from ..status import RunStatus, StepStatus, WaitingFor
from .choose import choose, find_concurrent, find_due, handler_for, is_readable, program_of
from .entries import Pick
from .gate import StaleClaim, lock_run
from .leases import Lease
from .moves import RunState
from .now import database_now
from .postpone import postpone
from .rows import handler_of, run_state
from .sharing import is_concurrent
from .statements import take
from .telling import tell_started
from .waits import AWAITED, TIMEOUT, TIMER, event_of
from .who import job_id, worker_name

# The most step runs of one claim.
BATCH = 50
# How many due rows are looked at by a worker that others were faster than.
CROWD = 20
# How often a row whose run is locked is tried before it is left: who holds the lock, or the clock, rings.
LOCKED_TRIES = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Claim:
    """A step run that this process holds, with its run as last read.

    ``in_batch``: claimed together with others. ``is_sole``: nothing else of its run was live then.
    ``was_undone``: a round with it was undone. ``locked``: the gate was passed in this transaction.
    """

    using: str
    run: Run
    step_run: StepRun
    program: Program
    lease: Lease
    in_batch: bool = False
    is_sole: bool = False
    was_undone: bool = False
    locked: bool = False
    # An atomic handler changed its own run, such as by cancel_run().
    is_stale: bool = False
    # The latest outputs, encoded, by step name, of what this process recorded of the run right before.
    known: Mapping[str, Any] = field(default_factory=dict)
    # The handler of the step's type; None where this process does not know it.
    handler: Handler | None = field(init=False)

    def __post_init__(self) -> None:
        self.handler = handler_of(self.program, self.step_run.step)

    @property
    def token(self) -> UUID:
        """The lease token that proves the claim."""
        return self.lease.token

    @property
    def spec(self) -> StepSpec:
        """The step's part of the definition."""
        return self.program.steps[self.step_run.step]

    @property
    def number(self) -> int:
        """The number of the recording that is being worked out: the revision the run will have."""
        return self.run.revision + (0 if self.locked else 1)

    def run_state(self) -> RunState:
        """Return the facts of the run that plan wants."""
        return run_state(self.run, self.program.spec, number=self.number)


def claim_due(
    using: str,
    *,
    run_id: UUID | None = None,
    queue: str | None = None,
    most: int = 1,
    token: UUID | None = None,
) -> list[Claim]:
    """Claim the oldest due step run, of one run or one queue where given; none where nothing is due.

    Up to ``most`` are claimed together where they may share a commit. A run that somebody else changes at the
    same moment is looked at again. A lease that has expired is not taken over: clocks make it ready. A claim
    that leaves ready rows of ``queue`` behind rings, so that idle workers join in.
    """
    token = token or uuid4()
    for _ in range(LOCKED_TRIES):
        claims, is_locked = _claim_free(using, run_id, queue, most, token)
        if claims or not is_locked:
            return claims
        time.sleep(random.uniform(0.01, 0.05))
    return []


def claim_concurrent(
    using: str, *, run_id: UUID | None = None, queue: str | None = None, most: int
) -> list[Claim]:
    """Claim up to ``most`` steps that may wait in the event loop which this process is in; none where all are
    held by others just now."""
    began, now = time.monotonic(), database_now(using)
    due = find_due(using, now, run_id=run_id, queue=queue)
    rows = find_concurrent(due, most=most, among=most + CROWD)
    return _take(using, rows, began, now, uuid4()) if rows else []


def _claim_free(
    using: str, run_id: UUID | None, queue: str | None, most: int, token: UUID
) -> tuple[list[Claim], bool]:
    """Claim what is due and free; return also whether there was more that another transaction had locked."""
    looked_at, missed = 2, dict[UUID, int]()
    while True:
        began, now = time.monotonic(), database_now(using)
        due = find_due(using, now, run_id=run_id, queue=queue)
        found = due[: looked_at + len(missed)]
        # One that was missed and is as it was read is locked.
        rows = [row for row in found if missed.get(row.pk) != row.run.revision]
        if not rows:
            return [], bool(missed)
        row = rows[0] if looked_at < CROWD else random.choice(rows)
        if not is_readable(row, using):
            postpone(using, row, now)
            continue
        chosen = choose(due, row, len(rows), most=most)
        if claims := _take(using, chosen.rows, began, now, token):
            if queue is not None and chosen.leaves_others:
                ring(using, queue)
            return claims, False
        missed |= {row.pk: row.run.revision for row in chosen.rows}
        looked_at = CROWD


def _take(using: str, rows: Sequence[StepRun], began: float, now: datetime, token: UUID) -> list[Claim]:
    """Claim rows with one token. Of one run all are claimed or none."""
    solo = len(rows) == 1 and (rows[0].solo or not is_concurrent(handler_for(rows[0], using)))
    runs: dict[UUID, tuple[Run, dict[str, Any]]] = {}
    picks = []
    for row in rows:
        row.run, run_values = runs.setdefault(row.run_id, (row.run, _run_values(row, now)))
        values = _row_values(program_of(row, using), row, now, token=token, solo=solo)
        picks.append(Pick(run=row.run, run_values=run_values, row=row, row_values=values))
    try:
        taken = take(using, picks)
    except StaleClaim:
        return []
    claims = [_claim(using, pick, began, in_batch=not solo) for pick in picks if pick.row.pk in taken]
    for run, run_values in runs.values():
        if "started_at" in run_values and any(claim.run is run for claim in claims):
            tell_started(using, run)
    return claims


def _claim(using: str, pick: Pick, began: float, *, in_batch: bool) -> Claim:
    row, program = pick.row, program_of(pick.row, using)
    put(pick.run, pick.run_values)
    put(row, pick.row_values)
    return Claim(
        using=using,
        run=pick.run,
        step_run=row,
        program=program,
        lease=lease_on(using, row, began),
        in_batch=in_batch,
        is_sole=program.graph.is_linear or not getattr(row, "has_siblings", True),
    )


def _run_values(row: StepRun, now: datetime) -> dict[str, Any]:
    run = row.run
    values = {"revision": run.revision + 1, "status": RunStatus.RUNNING, "step": row.step}
    return values if run.started_at is not None else {**values, "started_at": now}


def _row_values(program: Program, row: StepRun, now: datetime, *, token: UUID, solo: bool) -> dict[str, Any]:
    values = lease_values(program, row, now, token=token, solo=solo)
    was_asleep = row.status == StepStatus.WAITING and row.waiting_for == WaitingFor.TIMER
    if was_asleep and row.started_at is not None:
        values["event"] = event_of(TIMER, now)
    elif row.status == StepStatus.WAITING and row.waiting_for in AWAITED:
        values["event"] = event_of(TIMEOUT, now)
    return values


def lease_values(program: Program, row: StepRun, now: datetime, *, token: UUID, solo: bool) -> dict[str, Any]:
    """Return the columns of a step run that this process claims at ``now``.

    ``solo``: alone, so that a crash counts. A handler that must not run twice has its start committed right
    before the call instead.
    """
    until = now + get_settings().LEASE
    handler = handler_of(program, row.step)
    started_at = row.started_at
    if handler is None or handler.rerun_after_crash:
        started_at = started_at or now
    elif not row.crashes:
        started_at = None
    return {
        "status": StepStatus.RUNNING,
        "waiting_for": "",
        "lease_token": token,
        "lease_until": until,
        "due_at": until,
        "worker": worker_name(),
        "job_id": job_id(),
        "started_at": started_at,
        "solo": solo,
    }


def lease_on(using: str, row: StepRun, began: float) -> Lease:
    """Return the lease of a row that was claimed at ``began``, by the monotonic clock."""
    assert row.lease_token is not None
    return Lease(
        using=using,
        run_id=row.run_id,
        step_run_id=row.pk,
        token=row.lease_token,
        queue=row.queue,
        renewed=began,
    )


def lock_claim(claim: Claim) -> None:
    """Lock the run of a claim, and read both rows again.

    Raises ``StaleClaim`` when the step run is no longer ours.
    """
    claim.run = lock_run(claim.using, claim.run.pk)
    claim.is_sole = claim.program.graph.is_linear
    row = StepRun.objects.using(claim.using).filter(pk=claim.step_run.pk, lease_token=claim.token).first()
    if row is None:
        raise StaleClaim
    row.run = claim.run
    # Renewals write what the handler says; it is recorded with its report, and must not be there twice.
    row.logs = claim.step_run.logs
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
