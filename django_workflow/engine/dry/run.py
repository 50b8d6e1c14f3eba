"""A dry run: where a run would go, without one. No handler is called, and nothing is written or sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any
from uuid import UUID

from ...codec import decode
from ...conf import get_settings
from ...definition.program import Program
from ...exceptions import ParamsError, WorkflowNotFound
from ...models import Run, Workflow
from ...registry import get_handler
from ...spelling import MOST_HINTS, closest, cut, some
from ...status import RunStatus, StepStatus
from ..moves import RunState
from ..now import database_now
from ..orders import find_workflow, make_order
from ..programs import get_program
from .call import FOLLOWED, Memory
from .outputs import KnownOutputs
from .recorded import read_recorded
from .report import DryRun
from .walk import Walk

NO_RUN = str(UUID(int=0))


def dry_run(
    name: str,
    input: Mapping[str, Any] | None,
    *,
    outputs: Mapping[str, Any] | None,
    like: Run | None,
    using: str,
) -> DryRun:
    """Return where a run of the workflow's published version would go.

    Raises ``WorkflowNotFound`` for an unknown workflow, or one that was never published, ``ParamsError`` for
    input that does not fit and for outputs of steps that do not exist, ``NotStorable``.
    """
    workflow = find_workflow(name, using)
    if workflow.published is None:
        raise WorkflowNotFound(f"workflow {name!r} was never published: there is nothing to run")
    program = get_program(workflow.published.pk, using)
    given = dict(outputs or {})
    _check_names(given, program)
    if input is None and like is not None:
        input = {key: decode(value, using=like._state.db or using) for key, value in like.input.items()}
    state = make_order(workflow, input, using=using).input
    recorded = {} if like is None else read_recorded(like, using=using)
    memory = Memory(
        program=program,
        using=using,
        known=KnownOutputs(given=given, recorded=recorded),
        run={"id": NO_RUN if like is None else str(like.pk), "key": like and like.key, "workflow": name},
        state=dict(state),
    )
    most = program.spec.max_visits or get_settings().MAX_VISITS
    walk = Walk(memory=memory, run=RunState(number=0, max_visits=most), now=database_now(using))
    walk.walk()
    return _report(walk, workflow, tuple(_problems(workflow, program, given)))


def _check_names(given: Mapping[str, Any], program: Program) -> None:
    unknown = (str(name) for name in given if name not in program.graph.steps)
    problems = {cut(name): [_suggest(name, program)] for name in islice(unknown, MOST_HINTS)}
    if problems:
        raise ParamsError(f"outputs for a dry run of {program.spec.name}", problems)


def _suggest(name: str, program: Program) -> str:
    close = closest(name, program.graph.steps)
    hint = f"did you mean {close!r}?" if close else f"the steps are {some(program.graph.steps)}"
    return f"no step has this name; {hint}"


def _problems(workflow: Workflow, program: Program, given: Mapping[str, Any]) -> Iterator[str]:
    if not workflow.enabled:
        yield f"workflow {workflow.name!r} is switched off: a run of it is cancelled at once"
    for name in given:
        handler = get_handler(program.graph.steps[name].type)
        if handler is not None and handler.type in FOLLOWED:
            yield f"the output given for {name!r} is not used: {handler.type} is followed as in a run"


def _report(walk: Walk, workflow: Workflow, problems: tuple[str, ...]) -> DryRun:
    assert workflow.published is not None
    found = DryRun(
        workflow=workflow.name,
        version=workflow.published.number,
        status="done",
        steps=tuple(walk.steps),
        state=walk.memory.state,
        missing=tuple(walk.missing),
        problems=problems,
    )
    ending = walk.ending
    if ending is None:
        return replace(found, status="stopped") if walk.missing else replace(found, output=_last_output(walk))
    if ending.status == RunStatus.FAILED:
        return replace(found, status="failed", error=ending.error, error_type=ending.error_type)
    own = walk.ended_with.output if ending.has_output and walk.ended_with is not None else _last_output(walk)
    return replace(found, output=own)


def _last_output(walk: Walk) -> Any:
    """Return the output of the last step in list order that is done."""
    names = walk.memory.program.graph.steps
    done = [name for name in names if name in walk.rows and walk.rows[name].status == StepStatus.DONE]
    return walk.memory.outputs[done[-1]] if done else None
