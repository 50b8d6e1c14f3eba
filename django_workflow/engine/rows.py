"""Between rows and the values that plan works on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ..conf import get_settings
from ..definition.program import Program
from ..definition.spec import WorkflowSpec
from ..models import Run, StepRun
from ..models.fresh import make
from ..registry import Handler, get_handler
from ..status import FINAL_STEP, RunStatus, StepStatus, WaitingFor
from .moves import NO_JUMPS, Erred, Jumps, NewRow, RowMove, RunState, StepState, Unknown
from .report import Report

# Names the event of a step whose jump was not taken because its run was ending.
LEADS_TO = "leads_to"

STATE_FIELDS = (
    "step",
    "status",
    "index",
    "visit",
    "attempt",
    "counted_from",
    "postponed",
    "began",
    "started_at",
    "handled",
    "undoes",
)


def step_state(row: StepRun) -> StepState:
    """Return the facts of a step run that plan wants."""
    return StepState(
        step=row.step,
        status=StepStatus(row.status),
        index=row.index,
        visit=row.visit,
        attempt=row.attempt,
        counted_from=row.counted_from,
        postponed=row.postponed,
        began=row.began,
        started=row.started_at is not None,
        handled=row.handled,
        is_undo=row.undoes_id is not None,
    )


def run_state(run: Run, spec: WorkflowSpec, *, number: int) -> RunState:
    """Return the facts of a run that plan wants; ``number`` is that of the recording being planned."""
    return RunState(
        number=number,
        ending=run.ending,
        paused=run.status == RunStatus.PAUSED,
        max_visits=spec.max_visits or get_settings().MAX_VISITS,
        jumps=NO_JUMPS if run.jumps is None else Jumps(**run.jumps),
    )


def read_states(using: str, run_id: UUID, names: Iterable[str] | None = None) -> dict[str, StepState]:
    """Return the current rows of the run's steps, or of ``names`` only, by name; items are left out."""
    rows = StepRun.objects.using(using).current().filter(run_id=run_id, index=-1).only(*STATE_FIELDS)
    if names is not None:
        rows = rows.filter(step__in=list(names))
    return {row.step: step_state(row) for row in rows}


def make_rows(
    run: Run, program: Program, new: Sequence[NewRow], now: datetime, items: Mapping[int, Any] | None = None
) -> list[StepRun]:
    """Return step runs to insert; ``items`` are the encoded items of ``for_each``, by index."""
    items = items or {}
    rows = [
        make(
            StepRun,
            run_id=run.pk,
            step=each.step,
            visit=each.visit,
            index=each.index,
            item=items.get(each.index),
            attempt=each.attempt,
            counted_from=each.counted_from,
            began=each.began,
            status=each.status,
            waiting_for=each.waiting_for,
            queue=queue_of(program, each.step),
            undoes_id=each.undoes,
            # What plan reads: an undo is none of the steps that others wait for.
            current=each.undoes is None,
            due_at=each.due_at,
            created_at=now,
            finished_at=now if each.status in FINAL_STEP else None,
        )
        for each in new
    ]
    for row in rows:
        row.run = run
    return rows


def queue_of(program: Program, name: str) -> str:
    """Return the queue of a step: its own, its handler's, the workflow's, the setting's.

    Empty where none is named.
    """
    handler = handler_of(program, name)
    own = program.steps[name].queue or (handler.queue if handler is not None else None)
    return own or program.spec.queue or get_settings().QUEUE or ""


def handler_of(program: Program, name: str) -> Handler | None:
    """Return the handler of the step ``name``; None where this process does not know its type."""
    return get_handler(program.steps[name].type)


def moved_values(
    row: StepRun, move: RowMove, report: Report, *, number: int, now: datetime
) -> dict[str, Any]:
    """Return the columns of an executed step run: what ``move`` makes of it, and what ``report`` keeps."""
    is_final = move.status in FINAL_STEP
    values: dict[str, Any] = {
        "status": move.status,
        "waiting_for": move.waiting_for,
        "due_at": move.due_at,
        "current": move.current,
        "postponed": move.postponed,
        "handled": move.handled,
        "solo": row.solo and is_final,
        "number": number,
        "started_at": row.started_at,
        "finished_at": now if is_final else None,
        "lease_token": None,
        "lease_until": None,
        "event": None,
        "params": report.params,
        "output": report.output,
        "error": "",
        "error_type": "",
        "traceback": report.traceback,
    }
    if move.leads_to is not None:
        values["event"] = {"name": LEADS_TO, "payload": move.leads_to}
    if isinstance(report.result, Erred):
        values |= {"error": report.result.message, "error_type": report.result.type[:255]}
    if move.waiting_for == WaitingFor.RETRY:
        values["event"] = row.event  # RetryAfter: the same attempt is called again, for the same reason
    if isinstance(report.result, Unknown):
        # The handler was not called: what woke the step is still to be told.
        values |= {"event": row.event, "started_at": row.started_at if row.event else None}
    return {**values, **_kept_values(row, report)}


def numbers_by_key(row: StepRun, but: Collection[str] = ()) -> dict[str, Any] | None:
    """Return which earlier recordings of ``row`` wrote its keys of the state, ``but`` those written now.

    The state of a run at any point is its input and all changes in the order of their recordings.
    """
    numbers = row.written_at or {}
    earlier = {key: numbers.get(key, row.number) for key in row.state_changes or {} if key not in but}
    return earlier or None


def _kept_values(row: StepRun, report: Report) -> dict[str, Any]:
    """Return the columns that keep what they have where a call gives nothing: logs, progress, awaits."""
    written = {*report.changes.written, *report.changes.deleted}
    values: dict[str, Any] = {"written_at": numbers_by_key(row, but=written)}
    if report.awaits is not None:
        values["awaits"] = report.awaits
    if report.child_id is not None:
        values["child_id"] = report.child_id
    if report.lines:
        values["logs"] = [*(row.logs or ()), *report.lines]
    if report.progress is not None:
        values["progress"] = report.progress
    if report.changes:
        deleted = {key: {"$deleted": True} for key in report.changes.deleted}
        values["state_changes"] = {**(row.state_changes or {}), **deleted, **report.changes.written}
    return values
