"""One attempt: condition, items, params, the handler call, and what its outcome means. It records nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, connections

from ..codec import check_size, decode, encode, load
from ..conf import get_settings
from ..context import Hooks, State, StateChanges, StepContext
from ..definition.expressions import Expression, Template
from ..definition.program import Part
from ..definition.spec import MAX_ITEMS, RESERVED_STATE
from ..exceptions import ExpressionError, LeaseLost, NotStorable, StepTimeout
from ..models import StepRun
from ..registry import Handler
from .call import call_handler, commit_start, time_limit
from .claim import Claim
from .deadline import DeadlinePassed, deadline
from .event_context import event_for
from .items import gather
from .meaning import interpret
from .moves import Erred, Finished, Passed, Spread
from .news import News
from .outage import NotRecorded, forget_losses, is_lost, is_passing, note_loss
from .report import Report, progress_of, report_error
from .scope import Errors, LoadedOutputs, Outputs, Scope
from .secrecy import conceal, conceal_texts, hidden_from, secrets_of
from .sharing import note_call
from .stopping import is_interrupt
from .transactions import sparing_tests


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An attempt under way: what it read and rendered so far, for the report of an error too."""

    claim: Claim
    handler: Handler
    scope: Scope
    outputs: Outputs
    # The step run that this one undoes.
    undone: StepRun | None = None
    params: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    # The values among the arguments that are to be in no row.
    secrets: list[str] = field(default_factory=list)
    context: StepContext | None = None
    hooks: Hooks = field(default_factory=Hooks)
    limit: timedelta | None = None
    # By the monotonic clock: when the handler was called.
    began: float = 0.0
    # The database connection that the attempt began with.
    connection: Any = None


def attempt(claim: Claim, handler: Handler) -> Report:
    """Execute the claimed step run once and return what came of it.

    Raises ``LeaseLost``, ``NotRecorded`` when the run's connection was lost meanwhile, the deadlock of an
    atomic handler, and what stops the whole process.
    """
    going = begin(claim, handler)
    try:
        report = prepare(going) or _call(going)
        if claim.lease.is_lost:
            raise LeaseLost
        return report
    except BaseException as error:  # What a binding or a time-out raises need be no Exception.
        return judge(going, error)


def judge(going: Attempt, error: BaseException) -> Report:
    """Return the report of an attempt that ``error`` ended; raises what ``attempt`` raises."""
    if isinstance(error, (LeaseLost, SystemExit)) or is_interrupt(error):
        raise error
    if isinstance(error, (OperationalError, InterfaceError)):
        using, row = going.claim.using, going.claim.step_run
        if is_lost(using, error, going.connection) and note_loss(row.pk):
            raise NotRecorded from error
        if going.handler.atomic and is_passing(error):
            raise error
    forget_losses(going.claim.step_run.pk)
    if isinstance(error, DeadlinePassed):
        error = _timed_out(going)
    report = report_error(error, going.params, going.hooks)
    return _conceal(going, report)


def begin(claim: Claim, handler: Handler) -> Attempt:
    """Return an attempt of the claimed step run that has not done anything yet."""
    connection = connections[claim.using].connection
    steps, row, undone, known = claim.program.graph.steps, claim.step_run, None, claim.known
    if row.undoes_id is not None:
        undone = StepRun.objects.using(claim.using).get(pk=row.undoes_id)
        known = {**known, undone.step: undone.output}
    outputs = Outputs(claim.run, steps, claim.using, known)
    errors = Errors(claim.run, steps, claim.using)
    scope = Scope(claim.run, row, outputs, errors, claim.using, undone=undone)
    return Attempt(
        claim=claim,
        handler=handler,
        scope=scope,
        outputs=outputs,
        undone=undone,
        limit=time_limit(claim.spec, handler),
        connection=connection,
    )


def prepare(going: Attempt) -> Report | None:
    """Work out condition, items and params; return the report of a step that is not to be called."""
    with sparing_tests(), deadline(_limit_of_expressions(going)):
        return _before_call(going)


def _limit_of_expressions(going: Attempt) -> timedelta | None:
    """Return how long conditions and params may take to evaluate; None where the step has none."""
    spec = going.claim.spec
    has_expressions = spec.params or spec.condition is not None or spec.for_each is not None
    return going.limit if has_expressions else None


def _before_call(going: Attempt) -> Report | None:
    row = going.claim.step_run
    is_first = row.index < 0 and row.attempt == row.counted_from and row.event is None
    parts = going.claim.program.parts(row.step, going.handler.condition_params)
    if is_first and parts.condition is not None and not _evaluate(going, "if", parts.condition):
        return Report(result=Passed())
    if row.index < 0 and parts.for_each is not None:
        return _spread(going, _evaluate(going, "for_each", parts.for_each))
    rendered = {name: _evaluate(going, f"with.{name}", part) for name, part in parts.params.items()}
    going.params = encode(rendered, "params", using=going.claim.using)
    check_size(going.params, "params", get_settings().MAX_BYTES)
    what = f"params of step {row.step!r} ({going.claim.spec.type})"
    going.arguments = going.handler.params.convert(rendered, what=what, using=going.claim.using)
    going.secrets = secrets_of(going.handler, going.arguments)
    return None


def _evaluate(going: Attempt, place: str, part: Part | Expression) -> Any:
    limit = get_settings().MAX_BYTES
    try:
        if isinstance(part, Template):
            return part.render(going.scope, max_bytes=limit)
        if isinstance(part, Expression):
            # The list is stored nowhere, but its items, one by one: the limit holds for each of them.
            return part.evaluate(going.scope, max_bytes=limit * MAX_ITEMS)
        return part.evaluate(going.scope, max_bytes=limit)
    except ExpressionError as error:
        raise ExpressionError(f"step {going.claim.step_run.step!r}, {place}: {error}") from error


def _spread(going: Attempt, values: Any) -> Report:
    if not isinstance(values, (list, tuple)):
        raise ExpressionError(
            f"step {going.claim.step_run.step!r}, for_each: {going.claim.spec.for_each} gives "
            f"{type(values).__name__}, and a list is needed"
        )
    if len(values) > MAX_ITEMS:
        raise ExpressionError(f"for_each gives {len(values):,} items, and {MAX_ITEMS:,} are the most")
    if not values:
        return Report(result=Finished(), output=[])
    done = _outputs_of_items(going.claim)
    if done:
        return gather(done)
    items = {
        index: encode(value, f"for_each[{index}]", using=going.claim.using)
        for index, value in enumerate(values)
    }
    return Report(result=Spread(len(items)), items=items)


def _outputs_of_items(claim: Claim) -> list[Any]:
    """Return the outputs of the items that an earlier attempt of this visit has left, by index."""
    row = claim.step_run
    if row.attempt == 1:
        return []
    rows = (
        StepRun.objects.using(claim.using)
        .current()
        .filter(run_id=claim.run.pk, step=row.step, visit=row.visit)
    )
    return list(rows.filter(index__gte=0).order_by("index").values_list("output", flat=True))


def _call(going: Attempt) -> Report:
    arguments = open_call(going)
    try:
        outcome = call_handler(going.handler, arguments, going.limit, going.context)
    finally:
        close_call(going)
    return understand(going, outcome)


def open_call(going: Attempt) -> dict[str, Any]:
    """Note that the handler is called now; return its arguments. Raises ``LeaseLost``."""
    claim, limit = going.claim, going.limit
    going.context = context = _make_context(going)
    name = going.handler.signature.context_name
    arguments = going.arguments if name is None else {**going.arguments, name: context}
    commit_start(claim, going.handler)
    earlier = claim.step_run.logs or ()
    hidden = partial(_hidden_from, going)
    news = News(hooks=going.hooks, earlier=earlier, secrets=going.secrets, hidden=hidden)
    claim.lease.begin(None if limit is None else limit.total_seconds(), news)
    going.began = time.monotonic()
    return arguments


def close_call(going: Attempt) -> None:
    """Note that the handler has ended."""
    going.claim.lease.end()
    note_call(going.handler, time.monotonic() - going.began)


def understand(going: Attempt, outcome: Any) -> Report:
    """Return the report of what the handler gave."""
    claim, context = going.claim, going.context
    assert context is not None
    forget_losses(claim.step_run.pk)
    meaning = interpret(claim, outcome)
    encoded = encode(meaning.output, "output", using=claim.using)
    check_size(encoded, "output", get_settings().MAX_BYTES)
    report = Report(
        result=meaning.result,
        output=encoded,
        awaits=meaning.awaits,
        call=meaning.call,
        changes=_checked_changes(context, claim),
        params=going.params,
        lines=going.hooks.lines,
        progress=progress_of(going.hooks),
    )
    return _conceal(going, report)


def _conceal(going: Attempt, report: Report) -> Report:
    report = replace(conceal(report, going.secrets), conceal=partial(_conceal, going))
    if not (report.lines or isinstance(report.result, Erred)):
        return report
    return conceal_texts(report, _hidden_from(going, report.output, report.changes.written))


def _hidden_from(going: Attempt, *given: Any) -> list[str]:
    """Return what texts about the attempt must not quote: of what it can read, and of what it gave."""
    run, row, undone = going.claim.run, going.claim.step_run, going.undone
    event = None if going.context is None or going.context.event is None else going.context.event.payload
    output, item = (None, row.item) if undone is None else (undone.output, undone.item)
    around = (run.input, run.state, item, output, event, going.outputs.found)
    return hidden_from(going.handler, going.params or {}, *around, *given)


def _make_context(going: Attempt) -> StepContext:
    claim, row = going.claim, going.claim.step_run
    about = row if going.undone is None else going.undone
    going.hooks = Hooks(is_cancelled=claim.lease.is_cancelled, beat=claim.lease.demand)
    return StepContext(
        run_id=claim.run.pk,
        step_run_id=row.pk,
        workflow=claim.run.workflow.name,
        step=row.step,
        visit=row.visit,
        attempt=row.attempt,
        item=load(decode(about.item, using=claim.using)) if row.index >= 0 else None,
        index=row.index if row.index >= 0 else None,
        state=State(claim.run.state, claim.using),
        steps=LoadedOutputs(going.outputs),
        event=event_for(row, claim.using),
        idempotency_key=f"{claim.run.pk}:{row.step}:{row.visit}:{row.index}",
        using=claim.using,
        _hooks=going.hooks,
    )


def _checked_changes(context: StepContext, claim: Claim) -> StateChanges:
    changes = context.state.changes()
    if changes:
        for key in RESERVED_STATE & set(changes.written):
            raise NotStorable(
                f"state.{key}", "this word has its own meaning in expressions; write another key"
            )
        check_size(changes.apply(claim.run.state), "state", get_settings().MAX_BYTES)
    return changes


def _timed_out(going: Attempt) -> StepTimeout:
    name = going.claim.step_run.step
    return StepTimeout(f"step {name!r} ran longer than its timeout of {going.limit}")
