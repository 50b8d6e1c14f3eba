"""The engine on a database against a naive model of the design.

The same choices of workers, of people and of the world outside must give the same run.
"""

from __future__ import annotations

import os

import pytest
from django.db import connection
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from django_workflow.definition.spec import WorkflowSpec
from django_workflow.definition.writing import write_definition
from tests.reference.definitions import EVENTS, FlowScript, flow_specs
from tests.reference.engine import EngineRun, is_valid
from tests.reference.flow import FlowRun
from tests.reference.moves import Move, draw_move, live_children, make_move, work_of
from tests.reference.pictures import compare

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 60 if connection.vendor == "sqlite" else 30
if os.environ.get("HYPOTHESIS_PROFILE") == "thorough":
    EXAMPLES = 1_500
MOVES = 40
MOST_MOVES_TO_THE_END = 400


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(flow_specs(), st.data())
def test_the_engine_and_the_model_make_the_same_run(spec: WorkflowSpec, data: st.DataObject) -> None:
    assume(is_valid(spec))
    _note_definition(spec)
    script = FlowScript(tuple(step.name for step in spec.steps), data.draw)
    model = FlowRun(spec, script)
    with EngineRun(spec, script) as real:
        compare(model, real)
        for _ in range(MOVES):
            move = draw_move(model, data.draw)
            if move == ("stop",):
                break
            note(" ".join(map(str, move)))
            make_move(model, real, move)
            compare(model, real)
        if data.draw(st.booleans()):
            come_to_the_end(model, real)


def come_to_the_end(model: FlowRun, real: EngineRun) -> None:
    """Do what there is to do, while nothing more goes wrong: every run ends."""
    model.script.is_calm = True
    for _ in range(MOST_MOVES_TO_THE_END):
        if model.final:
            return
        children = live_children(model)
        if model.is_paused:
            move: Move = ("resume",)
        elif work := work_of(model):
            move = work[0]
        elif children:
            move = ("end_child", children[0], "done")
        else:
            move = ("send", EVENTS[len(model.paths.book.events) % len(EVENTS)])
        note(" ".join(map(str, move)))
        make_move(model, real, move)
        compare(model, real)
    raise AssertionError("the run does not end")


def _note_definition(spec: WorkflowSpec) -> None:
    for step in write_definition(spec)["steps"]:
        note(" ".join(f"{name}={value}" for name, value in step.items()))
    note(f"{spec.on_failure=} {spec.max_visits=}")
