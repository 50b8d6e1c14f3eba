"""The engine's decisions: from (graph, run, step run, its result, the rows it needs, now) to moves. Pure.

Whatever is decided here is applied in one transaction by ``record``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..definition.graph import Graph
from ..definition.spec import StepSpec
from ..exceptions import MaxVisitsExceeded
from ..retry import Retry, choose_policy, error_names, type_name
from ..status import RunStatus, StepStatus, WaitingFor
from .jump import plan_jump, rows_for_jump
from .moves import (
    Awaits,
    Ending,
    Erred,
    Finished,
    NewRow,
    Passed,
    Plan,
    Result,
    RowMove,
    RunState,
    Slept,
    Spread,
    StepState,
    Unknown,
)
from .new_rows import first_row, next_attempt, share_slots
from .readiness import can_start, names_to_know, ready_steps

MAX_POSTPONED = 1000
HANDLER_OFFERED_EVERY = timedelta(minutes=1)


def rows_needed(
    graph: Graph, run: RunState, step: StepState, result: Result, handler_retry: Sequence[Retry]
) -> frozenset[str]:
    """Return the names of the steps whose current rows :func:`plan` has to be given; none on a plain list."""
    if run.ending or not isinstance(result, (Finished, Passed, Erred)):
        return frozenset()
    if (
        isinstance(result, Erred)
        and _next_try(graph.steps[step.step], step, result, handler_retry) is not None
    ):
        return frozenset()
    target = _target(graph.steps[step.step], result)
    if target in ("fail", "end"):
        return frozenset()
    if target is not None:
        return rows_for_jump(graph, step.step, target)
    dependents = graph.dependents[step.step]
    if not run.jumps.entered and all(len(graph.needs[name]) == 1 for name in dependents):
        return frozenset()
    return names_to_know(graph, dependents)


def plan(
    graph: Graph,
    run: RunState,
    step: StepState,
    result: Result,
    *,
    rows: Mapping[str, StepState],
    now: datetime,
    handler_retry: Sequence[Retry] = (),
    roll: float = 0.0,
) -> Plan:
    """Return what recording ``result`` of ``step`` changes.

    ``rows`` are the current rows of the steps that :func:`rows_needed` names, by name; ``handler_retry`` the
    policies of the handler, for a step that has none of its own; ``roll`` a random number from 0 to 1 for the
    jitter.
    """
    spec = graph.steps[step.step]
    if run.ending:
        row = RowMove(status=cut_off_status(step, result), postponed=step.postponed)
        # The items of a step do not jump; the step does, once all of them have ended.
        jumps = step.index < 0 and isinstance(result, Finished) and not result.ends
        leads_to = _target(spec, result) if jumps else None
        return Plan(row=replace(row, leads_to=leads_to if leads_to in graph.steps else None))
    waits = plan_wait(spec, run, step, result, now=now, handler_retry=handler_retry, roll=roll)
    if waits is not None:
        return waits
    row = RowMove(status=final_status(result), postponed=step.postponed)
    recorded = replace(step, status=row.status)
    return _plan_what_follows(graph, run, recorded, result, row, {**rows, step.step: recorded}, now)


def plan_start(graph: Graph, run: RunState, now: datetime) -> tuple[NewRow, ...]:
    """Return the step runs that a new run begins with."""
    return tuple(first_row(graph, run, name, now) for name in graph.starts)


def plan_ready(
    graph: Graph, run: RunState, rows: Mapping[str, StepState], now: datetime
) -> tuple[NewRow, ...]:
    """Return the step runs that are missing: ready by ``rows``, the current rows of the whole run."""
    return tuple(first_row(graph, run, name, now) for name in ready_steps(graph, rows, run.jumps))


def plan_retry(step: StepState, now: datetime) -> NewRow:
    """Return the new attempt that an operator's retry gives ``step``: same visit, the policy counted anew."""
    return replace(next_attempt(step, timedelta(0), now, paused=False), counted_from=step.attempt + 1)


def item_action(spec: StepSpec, result: Erred) -> str:
    """Return what a failed item does.

    ``continue``, or what the whole step does when its running items have ended.
    """
    return result.action or spec.error_action(result.names)


def is_retried(spec: StepSpec, step: StepState, result: Result, handler_retry: Sequence[Retry]) -> bool:
    """Return whether a failed attempt is followed by another, by policy or by ``RetryAfter``."""
    if not isinstance(result, Erred) or result.permanent:
        return False
    return _asks_for_time(step, result) or _next_try(spec, step, result, handler_retry) is not None


def plan_wait(
    spec: StepSpec,
    run: RunState,
    step: StepState,
    result: Result,
    *,
    now: datetime,
    handler_retry: Sequence[Retry],
    roll: float,
) -> Plan | None:
    """Return the plan of a step run that waits or is followed by another attempt; None when it is over."""
    match result:
        case Slept():
            return Plan(row=_waiting(WaitingFor.TIMER, max(result.until, now), step))
        case Awaits():
            return Plan(row=_waiting(result.waiting_for, result.until, step))
        case Unknown():
            return Plan(row=_waiting(WaitingFor.HANDLER, now + HANDLER_OFFERED_EVERY, step))
        case Spread():
            return _plan_spread(spec, run, step, result.count, now)
        case Erred():
            again = _next_try(spec, step, result, handler_retry)
            if again is not None:
                return _plan_again(run, step, again.wait(step.attempt - step.counted_from + 1, roll), now)
            if result.retry_after is not None and _asks_for_time(step, result):
                row = _waiting(WaitingFor.RETRY, now + result.retry_after, step)
                return Plan(row=replace(row, postponed=step.postponed + 1))
    return None


def _next_try(spec: StepSpec, step: StepState, error: Erred, handler_retry: Sequence[Retry]) -> Retry | None:
    if error.permanent or error.retry_after is not None:
        return None
    policy = choose_policy(handler_retry if spec.retry is None else spec.retry, error.names)
    counted = step.attempt - step.counted_from + 1
    return policy if policy is not None and counted < policy.attempts else None


def _plan_again(run: RunState, step: StepState, wait: timedelta, now: datetime) -> Plan:
    row = RowMove(status=StepStatus.FAILED, current=False, postponed=step.postponed)
    return Plan(row=row, create=(next_attempt(step, wait, now, paused=run.paused),))


def _plan_spread(spec: StepSpec, run: RunState, step: StepState, count: int, now: datetime) -> Plan:
    first = NewRow(step=step.step, visit=step.visit, began=step.began, due_at=None if run.paused else now)
    items = [replace(first, index=index) for index in range(count)]
    return Plan(row=_waiting(WaitingFor.ITEMS, None, step), create=share_slots(spec.max_parallel, items))


def _waiting(waiting_for: WaitingFor, due_at: datetime | None, step: StepState) -> RowMove:
    return RowMove(
        status=StepStatus.WAITING, waiting_for=waiting_for, due_at=due_at, postponed=step.postponed
    )


def cut_off_status(step: StepState, result: Result) -> StepStatus:
    """Return the status of a step run whose run or map is ending: it goes on no more, whatever it asks."""
    return StepStatus.CANCELLED if _asks_for_time(step, result) else final_status(result)


def _asks_for_time(step: StepState, result: Result) -> bool:
    """Whether ``RetryAfter`` is to be called again: it is no failure, up to a limit."""
    is_asking = isinstance(result, Erred) and result.retry_after is not None and not result.permanent
    return is_asking and step.postponed < MAX_POSTPONED


def final_status(result: Result) -> StepStatus:
    """Return the status of a step run that is over."""
    match result:
        case Finished():
            return StepStatus.DONE
        case Passed():
            return StepStatus.SKIPPED
        case Erred():
            return StepStatus.FAILED
    return StepStatus.CANCELLED


def _target(spec: StepSpec, result: Result) -> str | None:
    """Return where a final result leads: a step name, ``end``, ``fail``, or None to go on."""
    match result:
        case Erred():
            action = result.action or spec.error_action(result.names)
            return None if action == "continue" else action
        case Finished(ends=True):
            return "end"
        case Finished():
            return result.goto or spec.next
    return None


def _plan_what_follows(
    graph: Graph,
    run: RunState,
    step: StepState,
    result: Result,
    row: RowMove,
    known: Mapping[str, StepState],
    now: datetime,
) -> Plan:
    target = _target(graph.steps[step.step], result)
    error = result if isinstance(result, Erred) else None
    if target == "fail" and error is not None:
        return Plan(
            row=row, ending=Ending(status=RunStatus.FAILED, error=error.message, error_type=error.type)
        )
    if target == "end":
        has_output = isinstance(result, Finished) and result.ends
        return Plan(row=row, ending=Ending(status=RunStatus.DONE, has_output=has_output))
    row = replace(row, handled=error is not None)
    if target is None:
        ready = [name for name in graph.dependents[step.step] if can_start(graph, name, known, run.jumps)]
        planned = Plan(row=row, create=tuple(first_row(graph, run, name, now) for name in ready))
    else:
        row = replace(row, current=step.step not in graph.region(target))
        planned = replace(plan_jump(graph, run, step, target, rows=known, error=error, now=now), row=row)
    return _refuse_endless_loop(run, planned, error)


def _refuse_endless_loop(run: RunState, planned: Plan, own: Erred | None) -> Plan:
    """Return ``planned``, or the failure of a step that leads to a visit too many.

    Its ``own`` error stays the step's, and the last one is told with the run's.
    """
    over = next(
        (new for new in planned.create if new.visit > run.max_visits and new.status != StepStatus.SKIPPED),
        None,
    )
    if over is None:
        return planned
    message = (
        f"step {over.step!r} would begin visit {over.visit:,}, and max_visits is {run.max_visits:,}: "
        "this loop does not end, or max_visits has to be raised"
    )
    led_here = run.jumps.error if own is None else {"type": own.type, "message": own.message}
    if led_here is not None:
        message += f". The last error: {led_here['type']}: {led_here['message']}"
    kind = MaxVisitsExceeded
    error = Erred(type=type_name(kind), message=message, names=error_names(kind), permanent=True)
    ending = Ending(status=RunStatus.FAILED, error=error.message, error_type=error.type)
    row = RowMove(status=StepStatus.FAILED, postponed=planned.row.postponed)
    return Plan(row=row, ending=ending, failed_by=error if own is None else None)
