"""Runs that were found by the model and then worked out by hand: model and engine make them move by move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from django_workflow.definition.reading import read_definition
from django_workflow.outcomes import Goto
from tests.reference.definitions import CallResult, FlowScript, Waits
from tests.reference.engine import EngineRun
from tests.reference.flow import FlowRun
from tests.reference.moves import make_move
from tests.reference.pictures import compare
from tests.reference.rows import Key
from tests.support.definitions import CardError, Raises

pytestmark = pytest.mark.django_db(transaction=True)

UNDO = {"type": "tests.play_undo"}
FAILS = Raises(CardError)
PAID = Waits(("paid",))
SHARED = Waits(("paid",), is_shared=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """``moves``: ``begin``, ``record`` and what people do; the key of a row is ``a1.1`` or ``a[0]1.1``."""

    name: str
    steps: Mapping[str, Mapping[str, Any]]
    moves: str
    # By the key of a row, and the number of the call.
    does: Mapping[str, CallResult]
    gives: str
    status: str
    fields: Mapping[str, Any] = field(default_factory=dict)


KNOWN = [
    Known(
        name="an undo that waits for its next attempt is skipped, and not the attempt that failed",
        steps={"a": {"undo": UNDO}},
        does={"a:undo1.1 1": FAILS},
        moves="begin a1.1, record a1.1, undo, begin a:undo1.1, record a:undo1.1, skip a:undo",
        gives="a1.1 done, a:undo1.1 failed, a:undo1.2 skipped",
        status="done",
    ),
    Known(
        name="an undo that is tried again finds the event that the failed one had taken",
        steps={"a": {"undo": UNDO}},
        does={"a:undo1.1 1": PAID, "a:undo1.1 2": FAILS, "a:undo1.2 1": FAILS, "a:undo1.3 1": PAID},
        moves="""begin a1.1, record a1.1, undo, begin a:undo1.1, record a:undo1.1, send paid, begin a:undo1.1,
            record a:undo1.1, begin a:undo1.2, record a:undo1.2, undo, begin a:undo1.3, record a:undo1.3""",
        gives="a1.1 done, a:undo1.1 failed, a:undo1.2 failed, a:undo1.3 pending",
        status="running",
    ),
    Known(
        name="a run whose ready items were stopped by the one that failed only waits",
        steps={
            "a": {"for_each": "two", "on_error": "late"},
            "late": {"needs": "jump", "delay": "1h"},
        },
        does={"a[0]1.1 1": FAILS},
        moves="begin a1.1, record a1.1, begin a[0]1.1, record a[0]1.1",
        gives="a1.1 failed, a[0]1.1 failed, a[1]1.1 cancelled, late1.1 waiting",
        status="waiting",
    ),
    Known(
        name="another attempt of a later visit reads a shared event again, another visit does not",
        steps={"a": {"next": "a", "retry": {"attempts": 2, "delay": 0}}},
        does={"a1.1 1": SHARED, "a1.1 2": FAILS, "a1.2 1": SHARED, "a2.1 1": SHARED},
        moves="""send paid, begin a1.1, record a1.1, begin a1.1, record a1.1, begin a1.2, record a1.2,
            begin a1.2, record a1.2, begin a2.1, record a2.1, send paid""",
        gives="a1.1 failed, a1.2 done, a2.1 pending",
        status="running",
    ),
    Known(
        name="a failed attempt of a later visit does not keep its next attempt from a shared event",
        steps={"a": {"next": "a", "retry": {"attempts": 2, "delay": 0}}},
        does={"a2.1 1": SHARED, "a2.1 2": FAILS, "a2.2 1": SHARED},
        moves="""send paid, begin a1.1, record a1.1, begin a2.1, record a2.1, begin a2.1, record a2.1,
            begin a2.2, record a2.2""",
        gives="a1.1 done, a2.1 failed, a2.2 pending",
        status="running",
    ),
    Known(
        name="a step that is begun anew gives back all the events that it has taken",
        steps={"a": {"needs": []}, "b": {"needs": [], "next": "a"}},
        does={"a1.1 1": PAID, "a1.1 2": Waits(("refused",)), "a2.1 1": PAID},
        moves="""begin a1.1, record a1.1, send paid, begin a1.1, record a1.1, begin b1.1, record b1.1,
            begin a2.1, record a2.1""",
        gives="a1.1 cancelled, a2.1 pending, b1.1 done",
        status="running",
    ),
    Known(
        name="a jump does not skip a step that has begun and is about to be tried again",
        steps={
            "a": {"needs": []},
            "b": {"needs": []},
            "x": {"needs": ["a", "b"], "join": "any", "retry": {"attempts": 2, "delay": 0}},
            "y": {"needs": "jump"},
        },
        does={"x1.1 1": FAILS, "b1.1 1": Goto("y")},
        moves="""begin a1.1, begin b1.1, record a1.1, begin x1.1, record x1.1, record b1.1, begin x1.2,
            record x1.2""",
        gives="a1.1 done, b1.1 done, x1.1 failed, x1.2 done, y1.1 pending",
        status="running",
    ),
    Known(
        name="a call that comes too late is cancelled and made by the retry",
        steps={"a": {"needs": []}, "call": {"type": "flow.call", "needs": [], "with": {"workflow": "child"}}},
        does={"a1.1 1": FAILS},
        moves="begin call1.1, begin a1.1, record a1.1, record call1.1, retry, begin call1.2, record call1.2",
        gives="a1.1 failed, a1.2 pending, call1.1 cancelled, call1.2 waiting",
        status="running",
    ),
    Known(
        name="the called run is cancelled whose caller was past its deadline when the run was cancelled",
        steps={"call": {"type": "flow.call", "timeout": "2h", "with": {"workflow": "child"}}},
        does={},
        moves="begin call1.1, record call1.1, begin call1.1, cancel, record call1.1",
        gives="call1.1 cancelled",
        status="cancelled",
    ),
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_run_worked_out_by_hand(known: Known) -> None:
    steps = [{"type": "tests.play", **fields, "name": name} for name, fields in known.steps.items()]
    spec, _problems = read_definition({"name": "known", "steps": steps, **known.fields})
    calls = [(*each.split(), result) for each, result in known.does.items()]
    does = {(_key(row), int(call)): result for row, call, result in calls}
    script = FlowScript(tuple(known.steps), lambda _: None, is_calm=True, known=does)
    model = FlowRun(spec, script)
    with EngineRun(spec, script) as real:
        for move in known.moves.split(","):
            verb, *argument = move.split()
            keys = [_key(each) for each in argument] if verb in ("begin", "record") else argument
            make_move(model, real, (verb, *keys))
            compare(model, real)
    rows = [f"{_text(row.key)} {row.status}" for row in sorted(model.rows, key=lambda row: row.key)]
    assert (", ".join(rows), model.status) == (known.gives, known.status)


def _key(text: str) -> Key:
    visited, attempt = text.split(".")
    item = visited.partition("[")[2].partition("]")[0]
    return (visited[:-1].partition("[")[0], int(visited[-1]), int(item or -1), int(attempt))


def _text(key: Key) -> str:
    step, visit, index, attempt = key
    return f"{step}{f'[{index}]' if index >= 0 else ''}{visit}.{attempt}"
