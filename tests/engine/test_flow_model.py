"""The engine on a database against a naive model of the design.

The same choices of workers, people and the world outside must give the same run.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from django_workflow.definition.spec import WorkflowSpec
from django_workflow.definition.writing import write_definition

from . import reference_verbs as verbs
from .reference_definitions import EVENTS, Draw, FlowScript, flow_specs
from .reference_engine import EngineRun, is_valid
from .reference_flow import FlowRun

pytestmark = pytest.mark.django_db(transaction=True)

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
EXAMPLES = 2_000 if IS_THOROUGH else 60
MOVES = 40
MOST_MOVES = 400
VERBS = ("cancel", "pause", "resume", "retry", "undo", "skip")
# What happens, beside the work that there is, the likelier the more often it stands here.
ALWAYS = ("send", "send", "send", "skip", "pause", "any")
AFTER = {
    "done": ("undo", "undo", "any", "send", "stop", "stop"),
    "failed": ("retry", "retry", "retry", "skip", "skip", "undo", "any", "stop"),
    "cancelled": ("undo", "undo", "any", "stop"),
}
CHILD_ENDS = ("done", "done", "failed", "cancelled")
COLUMNS = ("step", "visit", "index", "attempt", "status", "waiting_for", "current", "due_at", "output")

WITH_OUTPUT = ("done", "skipped")

Move = tuple[Any, ...]


def draw_move(model: FlowRun, draw: Draw) -> Move:
    """Return what happens next: mostly something that moves the run, sometimes a verb that may be refused."""
    work = [("begin", key) for key in model.startable()] + [("record", key) for key in model.running()]
    children = [child.place for child in model.paths.book.children if child.status == "waiting"]
    stopped = [row.step for row in model.rows if row.status in ("waiting", "failed") and row.index < 0]
    kinds = [*AFTER[model.final]] if model.final else [*ALWAYS, *(("end_child",) * 4 if children else ())]
    kinds += ["resume"] * 8 if model.is_paused else ["work"] * 20 if work else ["send"] * 4
    match draw(st.sampled_from(kinds)):
        case "work":
            return draw(st.sampled_from(work))
        case "send":
            return ("send", draw(st.sampled_from(EVENTS)))
        case "end_child":
            return ("end_child", draw(st.sampled_from(children)), draw(st.sampled_from(CHILD_ENDS)))
        case "skip":
            return ("skip", draw(st.sampled_from(stopped or list(model.paths.steps))))
        case "any":
            verb = draw(st.sampled_from(VERBS))
            return (verb, draw(st.sampled_from(list(model.paths.steps)))) if verb == "skip" else (verb,)
        case kind:
            return (kind,)


def make_move(model: FlowRun, real: EngineRun, move: Move) -> None:
    """Let both do the same, and refuse the same."""
    note(" ".join(map(str, move)))
    verb, *arguments = move
    if verb in ("begin", "record"):
        getattr(model, verb)(*arguments)
        getattr(real, verb)(*arguments)
    elif verb == "end_child":
        assert verbs.apply(model, verbs.end_child, *arguments)
        real.end_child(*arguments)
    elif verb == "send":
        place = len(model.paths.book.events)
        assert verbs.apply(model, verbs.send, *arguments) == real.send(*arguments, place)
    else:
        is_done = verbs.apply(model, getattr(verbs, verb), *arguments)
        assert (verb, real.apply(verb, *arguments)) == (verb, is_done)


def picture_of_model(model: FlowRun) -> dict[str, Any]:
    rows = {
        row.key: (
            row.status,
            row.waiting_for,
            row.is_current,
            row.is_timed or row.status == "running" or (row.status == "pending" and not model.is_paused),
            row.output if row.status in WITH_OUTPUT else None,
        )
        for row in model.rows
    }
    output = model.output if model.final == "done" else None
    children = [child.status for child in model.paths.book.children]
    return {"status": model.status, "error": model.error, "output": output, "children": children, **rows}


def picture_of_engine(real: EngineRun) -> dict[Any, Any]:
    status, error_type, output = real.read("status", "error_type", "output")
    rows = {
        (step, visit, index, attempt): (status, waiting, is_current, due_at is not None, output if status in WITH_OUTPUT else None)
        for step, visit, index, attempt, status, waiting, is_current, due_at, output in real.read_rows(*COLUMNS)
    }
    return {
        "status": status,
        "error": error_type.rpartition(".")[2],
        "output": output if status == "done" else None,
        "children": real.read_children(),
        **rows,
    }


def compare(model: FlowRun, real: EngineRun) -> None:
    """Raise an error that names what is different."""
    expected, found = picture_of_model(model), picture_of_engine(real)
    names = {*expected, *found}
    different = {name: (found.get(name), expected.get(name)) for name in names if found.get(name) != expected.get(name)}
    assert not different, "engine, model: " + "; ".join(f"{name}: {both}" for name, both in sorted(different.items(), key=str))


@settings(max_examples=int(os.environ.get("EX", EXAMPLES)), suppress_health_check=list(HealthCheck))
@given(flow_specs(), st.data())
def test_the_engine_and_the_model_make_the_same_run(spec: WorkflowSpec, data: st.DataObject) -> None:
    assume(is_valid(spec))
    for each in write_definition(spec)["steps"]:
        note(" ".join(f"{name}={value}" for name, value in each.items()))
    note(f"{spec.on_failure=} {spec.max_visits=}")
    script = FlowScript(tuple(step.name for step in spec.steps), data.draw)
    model = FlowRun(spec, script)
    with EngineRun(spec, script) as real:
        compare(model, real)
        for _ in range(MOVES):
            move = draw_move(model, data.draw)
            if move == ("stop",):
                break
            make_move(model, real, move)
            compare(model, real)
