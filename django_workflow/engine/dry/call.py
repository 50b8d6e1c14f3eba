"""The call of a dry run: params rendered as in a run, then the outcome that is known, or is followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from ...codec import check_size, decode, encode, load
from ...conf import get_settings
from ...context import NO_CHANGES, State, StateChanges, StepContext
from ...definition.expressions import NO_OUTPUT, Expression, Template
from ...definition.program import Part, Program
from ...definition.spec import MAX_ITEMS, RESERVED_STATE, StepSpec
from ...durations import LONGEST
from ...exceptions import ExpressionError, NotStorable, OutcomeError
from ...outcomes import End, Goto, Sleep
from ...registry import Handler
from ..moves import Finished, Result, Slept, StepState
from .outputs import Known, KnownOutputs
from .report import DryStep
from .words import describe_sleep, way_out

# Our own types that decide where a run goes: they have no effect outside of it, so that calling them is fine.
FOLLOWED = frozenset({"flow.set", "flow.branch", "flow.switch", "flow.end", "flow.fail", "flow.sleep"})
# The step run of a context that has none.
NOBODY = UUID(int=0)


@dataclass(slots=True, kw_only=True)
class Memory:
    """What the rows of a run would hold, and what its expressions can read; ``state`` and outputs encoded."""

    program: Program
    using: str
    known: KnownOutputs
    run: Mapping[str, Any]
    state: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)
    decoded: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None

    def scope(self) -> dict[str, Any]:
        """Return what the expressions of a step read."""
        names = self.program.graph.steps
        return {
            **{key: decode(value, using=self.using) for key, value in self.state.items()},
            "steps": {name: self.decoded.get(name, NO_OUTPUT) for name in names},
            "errors": {name: self.errors.get(name, NO_OUTPUT) for name in names},
            "run": self.run,
            "error": self.error,
        }

    def keep_output(self, name: str, output: Any) -> None:
        """Keep the latest output of a step, encoded."""
        self.outputs[name] = output
        self.decoded[name] = decode(output, using=self.using)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What came of a step; ``result`` is None where its output is missing."""

    result: Result | None
    params: Mapping[str, Any] | None = None
    output: Any = None
    changes: StateChanges = NO_CHANGES
    note: str = ""
    items: tuple[DryStep, ...] = ()
    item_errors: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True, kw_only=True)
class Going:
    """An attempt under way, of a step or of one item."""

    memory: Memory
    row: StepState
    spec: StepSpec
    handler: Handler
    scope: Mapping[str, Any]
    now: datetime
    params: dict[str, Any] | None = None


def evaluate(going: Going, place: str, part: Part | Expression) -> Any:
    """Return the value of one expression of the step. Raises ``ExpressionError``, naming the place."""
    limit = get_settings().MAX_BYTES
    try:
        if isinstance(part, Template):
            return part.render(going.scope, max_bytes=limit)
        most = limit * MAX_ITEMS if isinstance(part, Expression) else limit
        return part.evaluate(going.scope, max_bytes=most)
    except ExpressionError as error:
        raise ExpressionError(f"step {going.spec.name!r}, {place}: {error}") from error


def call_dry(going: Going) -> Attempted:
    """Render and convert the params, and return what the handler is known to do, or does."""
    memory, spec, using = going.memory, going.spec, going.memory.using
    parts = memory.program.parts(spec.name, going.handler.condition_params)
    rendered = {name: evaluate(going, f"with.{name}", part) for name, part in parts.params.items()}
    going.params = encode(rendered, "params", using=using)
    check_size(going.params, "params", get_settings().MAX_BYTES)
    what = f"params of step {spec.name!r} ({spec.type})"
    arguments = going.handler.params.convert(rendered, what=what, using=using)
    if going.handler.type in FOLLOWED:
        known: Known | None = _follow(going, arguments)
    else:
        known = memory.known.of(spec.name, going.row.visit, going.row.index)
    if known is None:
        return Attempted(result=None, params=going.params, note=way_out(spec))
    if known.error is not None:
        return Attempted(result=known.error, params=going.params)
    return _interpret(going, known)


def _follow(going: Going, arguments: Mapping[str, Any]) -> Known:
    memory, row = going.memory, going.row
    outputs = {name: load(value) for name, value in going.scope["steps"].items() if value is not NO_OUTPUT}
    context = StepContext(
        run_id=UUID(memory.run["id"]),
        step_run_id=NOBODY,
        workflow=memory.run["workflow"],
        step=row.step,
        visit=row.visit,
        attempt=row.attempt,
        item=load(going.scope.get("item")),
        index=row.index if row.index >= 0 else None,
        state=State(memory.state, memory.using),
        steps=outputs,
        event=None,
        idempotency_key="",
    )
    name = going.handler.signature.context_name
    given = arguments if name is None else {**arguments, name: context}
    outcome = going.handler.function(**given)
    changes = context.state.changes()
    for key in RESERVED_STATE & set(changes.written):
        raise NotStorable(f"state.{key}", "this word has its own meaning in expressions; write another key")
    return Known(outcome=outcome, changes=changes)


def _interpret(going: Going, known: Known) -> Attempted:
    outcome, result = known.outcome, Finished()
    match outcome:
        case Goto():
            _check_jump(going, outcome)
            outcome, result = outcome.output, Finished(goto=outcome.step)
        case End():
            outcome, result = outcome.output, Finished(ends=True)
        case Sleep():
            until = outcome.until
            moment = until if isinstance(until, datetime) else going.now + min(until, LONGEST)
            return Attempted(
                result=Slept(min(moment, going.now + LONGEST)),
                params=going.params,
                changes=known.changes,
                note=describe_sleep(until),
            )
    output = encode(outcome, "output", using=going.memory.using)
    limit = get_settings().MAX_BYTES
    check_size(output, "output", limit)
    check_size(known.changes.apply(going.memory.state), "state", limit)
    return Attempted(result=result, params=going.params, output=output, changes=known.changes)


def _check_jump(going: Going, jump: Goto) -> None:
    if going.row.index >= 0:
        raise OutcomeError(
            "Goto from an item of for_each: only the step as a whole may jump, by next or on_error."
        )
    if jump.step not in going.memory.program.graph.steps:
        known = ", ".join(going.memory.program.graph.steps)
        raise OutcomeError(f"Goto({jump.step!r}): no step of that name; known are {known:.1000}.")
