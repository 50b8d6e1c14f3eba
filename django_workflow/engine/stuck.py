"""Runs that nothing moves, which should not be: found and repaired from their rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q

from ..definition.program import Program
from ..dispatch import ring_after_commit
from ..elapsed import is_recent
from ..exceptions import WorkflowError
from ..models import Run, StepRun, StepRunQuerySet
from ..process import remembered
from ..status import FINAL_RUN, RunStatus, StepStatus, WaitingFor
from .endings import cancel_waiting, final_output
from .finish import finish
from .gate import StaleClaim
from .give_back import RunIsBusy, lock_if_free
from .now import database_now
from .plan import plan_ready
from .programs import get_program
from .rows import make_rows, read_states, run_state

logger = logging.getLogger("django_workflow")

# In seconds: how often one process looks, and so the shortest time between two repairs of one run.
EVERY = 300.0
BATCH = 500
STANDING = (*FINAL_RUN, RunStatus.PAUSED)
# What of a run goes on while it is ending.
_GOING_ON = Q(status=StepStatus.RUNNING) | Q(undoes__isnull=False)
TIMED = (WaitingFor.RETRY, WaitingFor.TIMER, WaitingFor.HANDLER)

_swept: dict[str, float] = remembered({})
_tried: dict[UUID, float] = remembered({})


class _BeyondRepair(Exception):
    """The rows do not say how the run goes on."""


def recover_stuck(using: str) -> int:
    """Repair the runs that nothing moves; return how many.

    It looks every five minutes, and at once again while there are more than one batch of them.
    """
    now = time.monotonic()
    if is_recent(_swept.get(using), EVERY):
        return 0
    for run_id in [run_id for run_id, at in _tried.items() if not is_recent(at, EVERY)]:
        del _tried[run_id]
    stuck = find_stuck(using, but=list(_tried))
    if len(stuck) < BATCH:
        _swept[using] = now
    _tried.update(dict.fromkeys(stuck, now))
    return sum(_repair(using, run_id) for run_id in stuck)


def find_stuck(using: str, *, but: Iterable[UUID] = ()) -> list[UUID]:
    """Return the ids of runs that are neither over nor paused and that nothing moves, a batch of them."""
    live = StepRun.objects.using(using).live().filter(run=OuterRef("pk"))
    is_over = ~Exists(live) | ~Q(ending="") & ~Exists(live.filter(_GOING_ON))
    runs = Run.objects.using(using).active().exclude(status=RunStatus.PAUSED).exclude(pk__in=but)
    rows = _halted(StepRun.objects.using(using)).exclude(run__status__in=STANDING).exclude(run_id__in=but)
    found = [
        *runs.filter(is_over).order_by("pk").values_list("pk", flat=True)[:BATCH],
        *rows.order_by("run_id").values_list("run_id", flat=True).distinct()[:BATCH],
    ]
    return list(dict.fromkeys(found))[:BATCH]


def _halted(rows: StepRunQuerySet) -> StepRunQuerySet:
    """The live step runs that should have a time to be looked at, or wait for other rows that have ended."""
    items = StepRun.objects.using(rows.db).live().filter(index__gte=0)
    items = items.filter(run=OuterRef("run"), step=OuterRef("step"), visit=OuterRef("visit"))
    return rows.live().filter(
        Q(status=StepStatus.PENDING)
        | Q(waiting_for__in=TIMED)
        | Q(waiting_for=WaitingFor.SLOT) & ~Exists(items.exclude(waiting_for=WaitingFor.SLOT))
        | Q(waiting_for=WaitingFor.ITEMS) & ~Exists(items),
        due_at=None,
    )


def _repair(using: str, run_id: UUID) -> bool:
    try:
        with suppress(StaleClaim, RunIsBusy), transaction.atomic(using=using):
            run = lock_if_free(using, run_id)
            done = "" if run.status in STANDING else _mend(run, database_now(using), using)
            if done:
                logger.warning("Run %s of %s had come to a halt: %s.", run.pk, run.workflow.name, done)
            return bool(done)
    except (_BeyondRepair, IntegrityError, DataError, WorkflowError, LookupError) as error:
        text = "Run %s has come to a halt, and its rows do not say how it goes on: %s. Cancel it."
        logger.error(text, run_id, error)
    return False


def _mend(run: Run, now: datetime, using: str) -> str:
    """Repair a locked run and return what was done; empty when it moves by itself."""
    assert run.version_id is not None
    program = get_program(run.version_id, using)
    live = StepRun.objects.using(using).live().filter(run=run)
    if run.ending:
        return "" if live.filter(_GOING_ON).exists() else _end(run, now, using)
    if not live.exists():
        return _insert_missing(run, program, now, using) or _settle(run, program, now, using)
    return _wake(run, _halted(live), program, now, using)


def _end(run: Run, now: datetime, using: str) -> str:
    cancel_waiting(using, run.pk, now)
    return _finish(run, RunStatus(run.ending), now, using)


def _insert_missing(run: Run, program: Program, now: datetime, using: str) -> str:
    state = run_state(run, program.spec, number=run.revision)
    missing = plan_ready(program.graph, state, read_states(using, run.pk), now)
    rows = StepRun.objects.using(using).bulk_create(make_rows(run, program, missing, now))
    if not rows:
        return ""
    _go_on(run, rows, using)
    return f"{', '.join(map(str, rows))} had not become ready"


def _go_on(run: Run, rows: Iterable[StepRun], using: str) -> None:
    """Let the run be what its ``rows`` are, ready or waiting, and ring for those that are ready."""
    ready = {row.queue for row in rows if row.status == StepStatus.PENDING}
    run.status = RunStatus.RUNNING if ready else RunStatus.WAITING
    run.save(using=using, update_fields=["status"])
    ring_after_commit(using, ready)


def _settle(run: Run, program: Program, now: datetime, using: str) -> str:
    """Make a run final whose steps have all ended."""
    current = StepRun.objects.using(using).current().filter(run=run, index=-1)
    failed = current.filter(status=StepStatus.FAILED, handled=False).first()
    if failed is None:
        run.output = final_output(using, run.pk, program.graph, {}, ())
        return _finish(run, RunStatus.DONE, now, using)
    run.error, run.error_type = failed.error, failed.error_type
    return _finish(run, RunStatus.FAILED, now, using)


def _finish(run: Run, status: RunStatus, now: datetime, using: str) -> str:
    finish(run, status, now, using)
    return f"all of its steps had ended, and it is {run.status} now"


def _wake(run: Run, halted: StepRunQuerySet, program: Program, now: datetime, using: str) -> str:
    """Give a time to the step runs that have none, and the free slots to items."""
    rows = list(halted.order_by("index"))
    for row in rows:
        if row.waiting_for == WaitingFor.ITEMS:
            raise _BeyondRepair(f"step {row} waits for its items, and they have ended")
    woken = [row for row in rows if _may_start(row, rows, program)]
    for row in woken:
        if row.waiting_for == WaitingFor.SLOT:
            row.status, row.waiting_for = StepStatus.PENDING, ""
        row.due_at = now
    StepRun.objects.using(using).bulk_update(woken, ["status", "waiting_for", "due_at"])
    if any(row.status == StepStatus.PENDING for row in woken):
        _go_on(run, woken, using)
    return f"{', '.join(map(str, woken))} waited for nothing" if woken else ""


def _may_start(row: StepRun, halted: Iterable[StepRun], program: Program) -> bool:
    if row.waiting_for != WaitingFor.SLOT:
        return True
    most = program.graph.steps[row.step].max_parallel or 1
    before = [each for each in halted if (each.step, each.visit) == (row.step, row.visit)]
    return before.index(row) < most
