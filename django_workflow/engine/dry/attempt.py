"""One step of a dry run: its condition, then its items or its one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ...codec import decode, encode
from ...context import StateChanges
from ...definition.spec import MAX_ITEMS
from ...exceptions import ExpressionError
from ...registry import get_handler, suggest_type
from ..items import gather
from ..moves import Erred, Finished, Passed, StepState, Unknown
from ..plan import item_action
from .call import FOLLOWED, Attempted, Going, Memory, call_dry, evaluate
from .outputs import final_error
from .report import DryStep


def attempt_dry(memory: Memory, row: StepState, now: datetime) -> Attempted:
    """Return what comes of the step ``row``; no handler of a user's is called."""
    spec = memory.program.graph.steps[row.step]
    handler = get_handler(spec.type)
    if handler is None:
        return Attempted(result=Unknown(), note=suggest_type(spec.type))
    going = Going(memory=memory, row=row, spec=spec, handler=handler, scope={}, now=now)
    return _guard(going, _try_step)


def _guard(going: Going, try_it: Callable[[Going], Attempted]) -> Attempted:
    try:
        return try_it(going)
    except Exception as error:  # params are converted by users' code, too
        return Attempted(result=final_error(error), params=going.params)


def _try_step(going: Going) -> Attempted:
    going.scope = going.memory.scope()
    parts = going.memory.program.parts(going.spec.name, going.handler.condition_params)
    if parts.condition is not None and not evaluate(going, "if", parts.condition):
        return Attempted(result=Passed(), note=f"if {parts.condition} is false")
    if parts.for_each is not None:
        return _try_items(going, _check_list(going, evaluate(going, "for_each", parts.for_each)))
    return call_dry(going)


def _check_list(going: Going, values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)):
        raise ExpressionError(
            f"step {going.spec.name!r}, for_each: {going.spec.for_each} gives "
            f"{type(values).__name__}, and a list is needed"
        )
    if len(values) > MAX_ITEMS:
        raise ExpressionError(f"for_each gives {len(values):,} items, and {MAX_ITEMS:,} are the most")
    return list(values)


@dataclass(slots=True, kw_only=True)
class _Items:
    """What the items of one step came to so far."""

    steps: list[DryStep] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    missing: str = ""

    def add(self, going: Going, attempted: Attempted) -> None:
        """Keep what came of one item."""
        self.steps.append(describe(going.memory, going.row, attempted))
        self.outputs.append(attempted.output)
        self.missing = self.missing or (attempted.note if attempted.result is None else "")
        changes = attempted.changes
        self.deleted = (self.deleted - set(changes.written)) | set(changes.deleted)
        kept = {key: value for key, value in self.written.items() if key not in changes.deleted}
        self.written = {**kept, **changes.written}
        if isinstance(attempted.result, Erred):
            error = {"type": attempted.result.type, "message": attempted.result.message}
            self.errors.append({"index": going.row.index, **error})

    def close(self, result: Erred | Finished | None, output: Any = None) -> Attempted:
        """Return what came of the whole step."""
        return Attempted(
            result=result,
            output=output,
            changes=StateChanges(written=self.written, deleted=tuple(sorted(self.deleted))),
            note="" if result is not None else self.missing,
            items=tuple(self.steps),
            item_errors=tuple(self.errors),
        )


def _try_items(going: Going, values: list[Any]) -> Attempted:
    using, items = going.memory.using, _Items()
    if going.handler.type not in FOLLOWED:
        misfit = going.memory.known.misfit(going.spec.name, len(values))
        if misfit:
            return Attempted(result=None, note=misfit)
    for index, value in enumerate(values):
        item = decode(encode(value, f"for_each[{index}]", using=using), using=using)
        scope = {**going.scope, "item": item, "index": index}
        one = replace(going, row=replace(going.row, index=index), scope=scope, params=None)
        attempted = _guard(one, call_dry)
        items.add(one, attempted)
        if isinstance(attempted.result, Erred):
            action = item_action(going.spec, attempted.result)
            if action != "continue":
                message = f"item {index}: {attempted.result.message}"
                return items.close(replace(attempted.result, message=message, action=action))
        if attempted.result == Finished(ends=True):
            return items.close(Finished(ends=True), attempted.output)
    if items.missing:
        return items.close(None)
    gathered = gather(items.outputs)
    assert isinstance(gathered.result, (Erred, Finished))
    return items.close(gathered.result, gathered.output)


def describe(memory: Memory, row: StepState, attempted: Attempted, *, waited: str = "") -> DryStep:
    """Return what the dry run shows of a step or an item; ``waited`` says how long its start would wait."""
    spec = memory.program.graph.steps[row.step]
    result = attempted.result
    shown = DryStep(
        step=row.step,
        type=spec.type,
        status="done",
        visit=row.visit,
        index=row.index,
        params=attempted.params,
        output=attempted.output,
        condition=spec.condition if row.index < 0 else None,
        note="; ".join(filter(None, (waited, attempted.note))),
    )
    match result:
        case None:
            return replace(shown, status="stopped", output=None)
        case Passed():
            return replace(shown, status="skipped")
        case Unknown():
            return replace(shown, status="failed", error=attempted.note, note=waited)
        case Erred():
            return replace(shown, status="failed", error=result.message, error_type=result.type)
    return shown
