"""The outcomes of an earlier run's handlers, read from its rows for a dry run that is to be like it."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...codec import decode, encode
from ...context import StateChanges
from ...definition.graph import Graph
from ...exceptions import ExpressionError, NotStorable, ParamsError
from ...models import Run, StepRun
from ...outcomes import End, Goto
from ...registry import get_handler
from ...retry import error_names, type_name
from ...status import RunStatus, StepStatus
from ..moves import Erred
from ..programs import get_program
from .outputs import LATE, Known

# Errors of a definition rather than of a handler: the definition of today may do better.
_NOT_THE_HANDLERS = tuple(type_name(kind) for kind in (ExpressionError, NotStorable, ParamsError))
_END_TYPE = "flow.end"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """The run that is read. ``own`` is its alias, ``using`` that of the dry run."""

    run: Run
    own: str
    using: str
    rows: Sequence[StepRun]
    graph: Graph

    @property
    def handler_ended(self) -> bool:
        """Whether the run ended early and nothing in its definition did that."""
        return self.run.ending == RunStatus.DONE and not any(
            row.status == StepStatus.DONE and row.index < 0 and _ends(self.graph, row.step)
            for row in self.rows
        )


def read_recorded(run: Run, *, using: str) -> dict[tuple[str, int], dict[int, Known]]:
    """Return what the steps of ``run`` came to, by step and item, and visit."""
    own = run._state.db or using
    rows = list(StepRun.objects.using(own).filter(run_id=run.pk, undoes=None).order_by("visit", "attempt"))
    graph = Graph(()) if run.version_id is None else get_program(run.version_id, own).graph
    earlier = _Earlier(run=run, own=own, using=using, rows=rows, graph=graph)
    handler_ended = earlier.handler_ended
    began: dict[int, list[StepRun]] = {}
    for row in rows:
        if row.index < 0 and row.attempt == 1:
            began.setdefault(row.began, []).append(row)
    found: dict[tuple[str, int], dict[int, Known]] = {}
    for row in {(row.step, row.index, row.visit): row for row in rows}.values():
        known = _read(row, earlier)
        if known is not None and row.status == StepStatus.DONE and row.index < 0 and row.step in graph.steps:
            # Each recording has its own number, and what it created began with it.
            created = began.get(row.number or -1, [])
            known = replace(known, outcome=_outcome(row, graph, created, known.outcome))
            if handler_ended and not created and row.output == run.output:
                known = replace(known, outcome=End(known.outcome))
        if known is not None:
            found.setdefault((row.step, row.index), {})[row.visit] = known
    return found


def _ends(graph: Graph, name: str) -> bool:
    spec = graph.steps.get(name)
    handler = None if spec is None else get_handler(spec.type)
    return spec is not None and (spec.next == "end" or (handler is not None and handler.type == _END_TYPE))


def _read(row: StepRun, earlier: _Earlier) -> Known | None:
    number = LATE if row.number is None else row.number
    if row.status == StepStatus.FAILED:
        if row.error_type in _NOT_THE_HANDLERS:
            return None
        names = _names_of(row.error_type)
        error = Erred(type=row.error_type, message=row.error, names=names, permanent=True)
        return Known(error=error, number=number)
    # An operator may have given a skipped step an output.
    if row.status != StepStatus.DONE and (row.status != StepStatus.SKIPPED or row.output is None):
        return None
    return Known(
        outcome=decode(row.output, using=earlier.own),
        changes=_changes(row.state_changes or {}, earlier),
        number=number,
    )


def _changes(stored: Mapping[str, Any], earlier: _Earlier) -> StateChanges:
    deleted = tuple(key for key, value in stored.items() if value == {"$deleted": True})
    written = {
        key: encode(decode(value, using=earlier.own), f"state.{key}", using=earlier.using)
        for key, value in stored.items()
        if key not in deleted
    }
    return StateChanges(written=written, deleted=deleted)


def _names_of(kind: str) -> tuple[str, ...]:
    """Return what a recorded error answers to: with its bases, where its class is at hand."""
    module, _, name = kind.rpartition(".")
    found = getattr(sys.modules.get(module) if module else builtins, name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return error_names(found)
    return tuple(dict.fromkeys((name, kind)))


def _outcome(row: StepRun, graph: Graph, created: Sequence[StepRun], output: Any) -> Any:
    """Return what the handler of a done step must have returned, by what its recording began."""
    begun = [each.step for each in created if not _is_passed_by(each)]
    jumped = len(begun) == 1 and (len(created) > 1 or row.step not in graph.needs.get(begun[0], ()))
    if jumped and begun[0] != graph.steps[row.step].next:
        return Goto(begun[0], output)
    return output


def _is_passed_by(row: StepRun) -> bool:
    # A step whose condition was false is recorded by itself, and so has a number.
    return row.status == StepStatus.SKIPPED and row.number is None
