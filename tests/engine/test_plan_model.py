"""The engine's plan against a naive model of the design: the same choices must give the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, note, settings

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec, WorkflowSpec
from django_workflow.engine.moves import Erred, Finished, NewRow, Passed, Plan, Result, RunState, StepState
from django_workflow.engine.plan import plan, plan_ready, plan_start, rows_needed
from django_workflow.exceptions import PermanentError
from django_workflow.outcomes import End, Goto
from django_workflow.retry import Retry, error_names
from django_workflow.status import RunStatus, StepStatus
from tests.reference.paths import DEFAULT_MAX_VISITS
from tests.reference.run import Entry, ReferenceRun
from tests.support.definitions import CardError, Case, Raises, Script, cases
from tests.support.definitions import Result as ScriptResult

EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 300
MOST_MOVES = 2_000
NOW = datetime(2030, 1, 1, tzinfo=UTC)
READY = frozenset({StepStatus.PENDING, StepStatus.WAITING})


@dataclass(slots=True)
class Row:
    """A row of the table: its facts, and whether it is current."""

    state: StepState
    current: bool = True


class PlannedRun:
    """A run of ``spec`` in memory that follows the plan, as ``record`` does with rows.

    It is driven like ``ReferenceRun``.
    """

    def __init__(self, spec: WorkflowSpec, script: Script) -> None:
        self.graph = Graph(spec.steps)
        self.script = script
        self.run = RunState(number=0, max_visits=spec.max_visits or DEFAULT_MAX_VISITS)
        self.rows: list[Row] = []
        self.final: RunStatus | None = None
        self._insert(plan_start(self.graph, self.run, NOW))

    @property
    def status(self) -> str:
        """The status of the run."""
        if self.final:
            return self.final.value
        started = any(row.state.started for row in self.rows)
        return "running" if started else "pending"

    @property
    def history(self) -> list[Entry]:
        """Every attempt so far, oldest first: step, visit, attempt, status."""
        states = [row.state for row in self.rows]
        return [(state.step, state.visit, state.attempt, state.status.value) for state in states]

    @property
    def current(self) -> dict[str, StepState]:
        """The current row of every step that has one."""
        current = [row.state for row in self.rows if row.current]
        named = {state.step: state for state in current}
        assert len(named) == len(current), "a step has two current rows"
        return named

    def ready(self) -> set[str]:
        """Return the steps that may start now."""
        return {name for name, state in self.current.items() if state.status in READY}

    def running(self) -> set[str]:
        """Return the steps that may finish now."""
        return {name for name, state in self.current.items() if state.status == StepStatus.RUNNING}

    def missing(self) -> list[str]:
        """Return the steps that should have a row by now and have none; a run that ends lacks nothing."""
        if self.run.ending or self.final:
            return []
        return [new.step for new in plan_ready(self.graph, self.run, self.current, NOW)]

    def start(self, name: str) -> None:
        """Somebody claims a step that is ready; this too raises the run's revision."""
        self.run = replace(self.run, number=self.run.number + 1)
        row = self._row(name)
        row.state = replace(row.state, status=StepStatus.RUNNING, started=True)

    def finish(self, name: str) -> None:
        """Record a running step with the result that the script gives it."""
        self.run = replace(self.run, number=self.run.number + 1)
        row = self._row(name)
        result = self._result(row.state)
        asked = rows_needed(self.graph, self.run, row.state, result, ())
        rows = {known: state for known, state in self.current.items() if known in asked}
        self._apply(row, plan(self.graph, self.run, row.state, result, rows=rows, now=NOW))

    def _result(self, state: StepState) -> Result:
        conditional = self.graph.steps[state.step].condition is not None
        if conditional and state.attempt == 1 and (state.step, state.visit) in self.script.refused:
            return Passed()
        result = self.script.result(state.step, visit=state.visit, attempt=state.attempt)
        if isinstance(result, Raises):
            permanent = issubclass(result.error, PermanentError)
            names = error_names(result.error)
            return Erred(type=names[0], message="", names=names, permanent=permanent)
        if isinstance(result, Goto):
            return Finished(goto=result.step)
        return Finished(ends=isinstance(result, End))

    def _apply(self, row: Row, planned: Plan) -> None:
        row.state = replace(row.state, status=planned.row.status)
        row.current = planned.row.current
        for name in planned.skip:
            skipped = self._row(name)
            skipped.state = replace(skipped.state, status=StepStatus.SKIPPED)
        for each in self.rows:
            if each.current and each.state.step in planned.retire:
                self._cancel(each)
                each.current = False
        self._insert(planned.create)
        self.run = replace(self.run, jumps=planned.jumps or self.run.jumps)
        if planned.ending:
            self._end(planned.ending.status)
        if planned.settles and not any(each.state.is_live for each in self.rows):
            self.final = RunStatus(self.run.ending or RunStatus.DONE)

    def _end(self, status: RunStatus) -> None:
        self.run = replace(self.run, ending=status.value)
        for each in self.rows:
            if each.state.status in READY:
                self._cancel(each)

    @staticmethod
    def _cancel(row: Row) -> None:
        if row.state.is_live:
            row.state = replace(row.state, status=StepStatus.CANCELLED)

    def _insert(self, rows: tuple[NewRow, ...]) -> None:
        for new in rows:
            state = StepState(
                step=new.step,
                status=new.status,
                visit=new.visit,
                attempt=new.attempt,
                counted_from=new.counted_from,
                began=new.began,
                started=new.attempt > 1,
            )
            self.rows.append(Row(state))

    def _row(self, name: str) -> Row:
        return next(row for row in self.rows if row.current and row.state.step == name)


def walk(case: Case) -> Iterator[tuple[ReferenceRun, PlannedRun]]:
    """Drive the model and the plan with the same choices; yield both at the start and after every move."""
    model, real = ReferenceRun(case.spec, case.script), PlannedRun(case.spec, case.script)
    yield model, real
    choices = iter(case.choices)
    while moves := [("start", name) for name in sorted(model.ready())] + [
        ("finish", name) for name in sorted(model.running())
    ]:
        verb, name = moves[next(choices, 0) % len(moves)]
        note(f"{verb} {name}")
        for run in (model, real):
            getattr(run, verb)(name)
        yield model, real


@settings(max_examples=EXAMPLES)
@given(cases())
def test_the_plan_and_the_model_make_the_same_run(case: Case) -> None:
    for moves, (model, real) in enumerate(walk(case)):
        assert sorted(real.history) == sorted(model.history)
        assert (real.ready(), real.running()) == (model.ready(), model.running())
        assert real.status == model.status
        assert real.missing() == []
        assert moves < MOST_MOVES, "the run does not end"
    assert real.status in ("done", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A run worked out by hand. ``moves``: what starts or finishes next; what is left goes in list order."""

    name: str
    steps: tuple[StepSpec, ...]
    moves: str = ""
    does: Mapping[str, ScriptResult]  # by step, visit and attempt: "a2.1"
    gives: str
    status: str = "done"


def steps(**fields: Mapping[str, Any]) -> tuple[StepSpec, ...]:
    """Return steps by name, each with the fields given."""
    return tuple(StepSpec(name=name, type="test.step", **given) for name, given in fields.items())


LIST: Mapping[str, Any] = {}
FREE = {"needs": ()}
PATH = {"needs": "jump"}
TWICE = {**FREE, "retry": (Retry(attempts=2, delay=timedelta(0)),)}

KNOWN = [
    Known(
        name="a jump forward skips",
        steps=steps(a=LIST, b=LIST, c=LIST),
        does={"a1.1": Goto("c")},
        gives="a1.1 done, b1.1 skipped, c1.1 done",
    ),
    Known(
        name="a jump backward loops",
        steps=steps(a=LIST, b=LIST, c=LIST),
        does={"b1.1": Goto("a")},
        gives="a1.1 done, a2.1 done, b1.1 done, b2.1 done, c1.1 done",
    ),
    Known(
        name="two branches that fail into one handler run it once, and a third runs it again when it is over",
        steps=steps(a={**FREE, "on_error": "x"}, b={**TWICE, "on_error": "x"}, c=FREE, x=PATH),
        moves="a b c a b b b x x c",
        does={**dict.fromkeys(("a1.1", "b1.1", "b1.2"), Raises(CardError)), "c1.1": Goto("x")},
        gives="a1.1 failed, b1.1 failed, b1.2 failed, c1.1 done, x1.1 done, x2.1 done",
    ),
    Known(
        name="a target entered before this step was created begins anew",
        steps=steps(a=FREE, b=FREE, x={**TWICE, **PATH}, y=PATH),
        moves="a b a b y x x x x",
        does={"a1.1": Goto("y"), "b1.1": Goto("x"), "x1.1": Raises(CardError), "x1.2": Goto("y")},
        gives="a1.1 done, b1.1 done, x1.1 failed, x1.2 done, y1.1 cancelled, y2.1 done",
    ),
    Known(
        name="a retry belongs to the visit that began before the other jump",
        steps=steps(a=FREE, b=TWICE, x=PATH),
        moves="a b a b b b",
        does={"a1.1": Goto("x"), "b1.1": Raises(CardError), "b1.2": Goto("x")},
        gives="a1.1 done, b1.1 failed, b1.2 done, x1.1 done",
    ),
    Known(
        name="a target that came by its needs meanwhile is entered by a jump",
        steps=steps(a=FREE, b=FREE, c=FREE, y=PATH, x={"needs": ("y",)}),
        moves="a b c a b y y c",
        does={"a1.1": Goto("x"), "b1.1": Goto("y"), "c1.1": Goto("x")},
        gives="a1.1 done, b1.1 done, c1.1 done, x1.1 cancelled, x2.1 cancelled, x3.1 done, y1.1 done",
    ),
    Known(
        name="a branch that only ends skips what has not started, ready or not",
        steps=steps(
            a=FREE, b=FREE, q=FREE, j={"needs": ("b", "q"), "join": "any"}, k={"needs": ("b",)}, x=PATH
        ),
        moves="a b q q a b",
        does={"a1.1": Goto("x"), "b1.1": Goto("x")},
        gives="a1.1 done, b1.1 done, j1.1 skipped, k1.1 skipped, q1.1 done, x1.1 done",
    ),
    Known(
        name="a path that has begun is waited for to its end",
        steps=steps(d={"needs": ("m", "q")}, a=FREE, m=FREE, p=PATH, q={"needs": ("p",)}),
        moves="a m a m",
        does={"a1.1": Goto("p"), "q1.1": Raises(CardError)},
        gives="a1.1 done, m1.1 done, p1.1 done, q1.1 failed",
        status="failed",
    ),
    Known(
        name="a path that never begins is not waited for",
        steps=steps(m=FREE, p=PATH, q={"needs": ("p",)}, d={"needs": ("m", "q")}),
        does={},
        gives="d1.1 done, m1.1 done",
    ),
    Known(
        name="an end awaits what runs and starts nothing more",
        steps=steps(a=FREE, b=TWICE, c=FREE),
        moves="a b a",
        does={"a1.1": End(), "b1.1": Raises(CardError)},
        gives="a1.1 done, b1.1 failed, c1.1 cancelled",
    ),
]


@pytest.mark.parametrize("kind", [ReferenceRun, PlannedRun])
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_run_worked_out_by_hand(known: Known, kind: type[ReferenceRun] | type[PlannedRun]) -> None:
    calls = {(key[0], int(key[1]), int(key[3])): result for key, result in known.does.items()}
    run = kind(WorkflowSpec(name="known", steps=known.steps), Script(calls))
    moves = iter(known.moves.split())
    while possible := [step.name for step in known.steps if step.name in run.ready() | run.running()]:
        name = next(moves, possible[0])
        assert name in possible
        (run.start if name in run.ready() else run.finish)(name)
    rows = [f"{step}{visit}.{attempt} {status}" for step, visit, attempt, status in sorted(run.history)]
    assert (", ".join(rows), run.status) == (known.gives, known.status)
