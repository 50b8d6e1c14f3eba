"""Skip: a step that waits or failed is passed over, with an output given by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from ..codec import check_size, encode
from ..conf import get_settings
from ..definition.program import UNDO, Program
from ..exceptions import VerbRefused
from ..models import Run, StepRun
from ..status import LIVE_STEP, RunStatus, StepStatus, WaitingFor
from .endings import final_output, retire_steps, skip_steps
from .finish import begin_undo, finish
from .moves import Finished, Passed
from .plan import plan
from .retry import Wake, insert_rows, jumps_not_taken, missing_rows, new_attempts, revive
from .rows import LEADS_TO, make_rows, numbers_by_key, read_states, run_state, step_state
from .telling import tell_calls_ended, tell_recorded
from .undo import MADE, next_undo
from .verbs import apply_verb, go_on, head_for, program_of, refuse_ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """What a person asks for: the name of the step run, and its output, encoded."""

    step: str
    output: Any
    wake: Wake | None = None


def skip(
    run: Run,
    step: str,
    output: Any = None,
    *,
    using: str,
    by: AbstractBaseUser | None,
    note: str,
    wake: Wake | None = None,
) -> Run:
    """Pass over a waiting step of a run, or one whose failure ended it; the run goes on as if it were done.

    ``step`` is its name, or ``"<name>:undo"`` for its undo; ``wake`` as ``retry`` says. Raises
    ``NotStorable`` for an output that cannot be kept, and ``VerbRefused``.
    """
    encoded = encode(output, "output", using=using)
    check_size(encoded, "output", get_settings().MAX_BYTES)
    asked = Skip(step=step, output=encoded, wake=wake)
    verb = partial(_skip_undo if step.endswith(UNDO) else _skip, asked=asked)
    return apply_verb("skip", verb, run, using=using, by=by, note=note, step=step)


def _skip(run: Run, now: datetime, using: str, *, asked: Skip) -> Sequence[StepRun]:
    if run.status != RunStatus.FAILED:
        refuse_ending(run, "changed by skipping a step")
    program = program_of(run, using)
    row = _find(run, program, asked.step, using)
    if run.status == RunStatus.FAILED:
        return _skip_failed(run, program, row, asked, now, using)
    if row.status != StepStatus.WAITING:
        raise VerbRefused(f"{_named(run, row)} is {row.status}: only a step that waits or failed is skipped.")
    if row.waiting_for == WaitingFor.ITEMS:
        _cancel_items(row, now, using)
    _close(row, asked.output, run, now, using)
    made = _follow(run, program, row, now, using)
    if not run.ending:
        go_on(run, program, now, using, ended=[row])
    tell_calls_ended(using, run)
    return made


def _skip_failed(
    run: Run, program: Program, row: StepRun, asked: Skip, now: datetime, using: str
) -> Sequence[StepRun]:
    if row.status != StepStatus.FAILED or row.handled:
        raise VerbRefused(f"{_named(run, row)} is {row.status}, and did not end the run: retry the run.")
    revive(run, program, now, using)
    _close(row, asked.output, run, now, using)
    current = StepRun.objects.using(using).current().filter(run=run, index=-1)
    other = current.filter(status=StepStatus.FAILED, handled=False).order_by("number").first()
    if other is not None:
        _stay_failed(run, program, row, other, using)
        return ()
    made = new_attempts(run, program, now, using, asked.wake)
    made += _follow(run, program, row, now, using)
    if run.ending:
        return ()
    made += jumps_not_taken(run, program, now, using)
    made += missing_rows(run, program, now, using)
    go_on(run, program, now, using, ended=[row])
    return made


def _find(run: Run, program: Program, name: str, using: str) -> StepRun:
    if name not in program.graph.steps:
        known = ", ".join(program.graph.steps)
        raise VerbRefused(f"run {run.pk} has no step {name!r}; its steps are {known:.1000}.")
    row = StepRun.objects.using(using).current().filter(run=run, step=name, index=-1).last()
    if row is None:
        raise VerbRefused(
            f"step {name!r} of run {run.pk} has not begun: a step is skipped when it waits or has failed."
        )
    row.run = run
    return row


def _named(run: Run, row: StepRun) -> str:
    return f"step {str(row)!r} of run {run.pk}"


def _close(row: StepRun, output: Any, run: Run, now: datetime, using: str) -> None:
    """Make the step run skipped, as if it were done. What it failed with is kept for later readers."""
    row.status, row.waiting_for, row.output, row.event = StepStatus.SKIPPED, "", output, None
    row.due_at, row.finished_at, row.handled = None, now, True
    row.written_at, row.number = numbers_by_key(row), run.revision
    fields = [
        "status",
        "waiting_for",
        "output",
        "event",
        "due_at",
        "finished_at",
        "handled",
        "written_at",
        "number",
    ]
    row.save(using=using, update_fields=fields)


def _cancel_items(row: StepRun, now: datetime, using: str) -> None:
    """Cancel the items of a step that is over; those that run lose their lease, and what they return."""
    items = StepRun.objects.using(using).live().filter(run=row.run_id, step=row.step, visit=row.visit)
    items.filter(index__gte=0).update(
        status=StepStatus.CANCELLED,
        waiting_for="",
        due_at=None,
        lease_token=None,
        lease_until=None,
        finished_at=now,
    )


def _follow(run: Run, program: Program, row: StepRun, now: datetime, using: str) -> list[StepRun]:
    """Start what follows a step that was skipped, its ``next`` too; return the new step runs."""
    state = run_state(run, program.spec, number=run.revision)
    result = Finished() if program.graph.steps[row.step].next else Passed()
    rows = read_states(using, run.pk)
    planned = plan(program.graph, state, step_state(row), result, rows=rows, now=now)
    if planned.failed_by is not None:
        raise VerbRefused(f"{_named(run, row)} cannot be skipped: {planned.failed_by.message}.")
    if planned.ending is not None:
        run.output = final_output(using, run.pk, program.graph, {}, ())
        head_for(run, RunStatus.DONE, now, using)
        tell_recorded(using, run, [row])
        return []
    skip_steps(using, run.pk, planned.skip, now)
    retire_steps(using, run.pk, planned.retire, now)
    if planned.jumps is not None:
        run.jumps = planned.jumps.as_json()
    made = insert_rows(make_rows(run, program, planned.create, now), using)
    run.step = next((each.step for each in made if each.status in LIVE_STEP), row.step)
    return made


def _stay_failed(run: Run, program: Program, row: StepRun, other: StepRun, using: str) -> None:
    """Leave the run failed by another step, and note where the skipped one leads for when it goes on."""
    run.refresh_from_db(using=using, fields=["status", "ending", "finished_at", "deadline"])
    run.error, run.error_type, run.step = other.error, other.error_type, other.step
    run.save(using=using)
    target = program.graph.steps[row.step].next
    if target in program.graph.steps:
        row.event = {"name": LEADS_TO, "payload": target}
        row.save(using=using, update_fields=["event"])
    tell_recorded(using, run, [row])


def _skip_undo(run: Run, now: datetime, using: str, *, asked: Skip) -> Sequence[StepRun]:
    """Count an undo that waits, or has failed, as made by hand: the next one begins."""
    undos = StepRun.objects.using(using).filter(run=run, undoes__isnull=False)
    made = undos.filter(status__in=MADE).values("undoes")
    left = undos.filter(step=asked.step).exclude(undoes__in=made)
    row = left.order_by("attempt").last()
    if row is None:
        raise VerbRefused(f"run {run.pk} has no {asked.step!r} that waits or has failed.")
    if row.status in (StepStatus.PENDING, StepStatus.RUNNING):
        raise VerbRefused(f"{_named(run, row)} is {row.status}: only a step that waits or failed is skipped.")
    _close(row, asked.output, run, now, using)
    program = program_of(run, using)
    first = next_undo(using, run, program, now=now, number=run.revision)
    if first is not None:
        run.ending = run.ending or run.status
        return begin_undo(run, program, first, now, using)
    if not run.is_final:
        finish(run, RunStatus(run.ending), now, using, [row])
    return ()
