"""The way of a dry run from step to step: planned as a run's is, over rows that are values in memory.

Time is moved to whatever is due next, so that branches which wait come in the order they would.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from ...status import StepStatus
from ..moves import Ending, Erred, Finished, NewRow, Plan, RunState, Slept, StepState, Unknown
from ..plan import plan, plan_start, rows_needed
from .attempt import attempt_dry, describe
from .call import Attempted, Memory
from .report import DryStep
from .words import describe_sleep


@dataclass(order=True, frozen=True, slots=True)
class _Turn:
    """When a row is to be looked at: when due, then as an earlier run had it, then as they came."""

    due: datetime
    number: int
    arrival: int
    step: str = field(compare=False)
    visit: int = field(compare=False)
    slept: Attempted | None = field(default=None, compare=False)
    waited: str = field(default="", compare=False)


@dataclass(slots=True, kw_only=True)
class Walk:
    """A dry run under way."""

    memory: Memory
    run: RunState
    now: datetime
    rows: dict[str, StepState] = field(default_factory=dict)
    steps: list[DryStep] = field(default_factory=list)
    missing: dict[str, DryStep] = field(default_factory=dict)
    ending: Ending | None = None
    ended_with: Attempted | None = None
    _turns: list[_Turn] = field(default_factory=list)
    _arrivals: count[int] = field(default_factory=count)

    def walk(self) -> None:
        """Go on until the run ends, or nothing can be known of what would come next."""
        for new in plan_start(self.memory.program.graph, self.run, self.now):
            self._begin(new)
        while self._turns and self.ending is None:
            turn = heappop(self._turns)
            row = self.rows.get(turn.step)
            if row is not None and row.is_live and row.visit == turn.visit:
                self.now = max(self.now, turn.due)
                self._take(turn, row)

    def _begin(self, new: NewRow) -> None:
        row = StepState(step=new.step, status=new.status, visit=new.visit, began=new.began)
        self.rows[new.step] = row
        if not row.is_live:
            self._show_passed_by(row)
            return
        delay = self.memory.program.graph.steps[new.step].delay
        waited = describe_sleep(delay, " (delay)") if delay else ""
        self._await(row, new.due_at or self.now, waited=waited)

    def _await(
        self, row: StepState, due: datetime, *, slept: Attempted | None = None, waited: str = ""
    ) -> None:
        number = self.memory.known.turn(row.step, row.visit)
        turn = _Turn(due, number, next(self._arrivals), row.step, row.visit, slept, waited)
        heappush(self._turns, turn)

    def _take(self, turn: _Turn, row: StepState) -> None:
        row = self.rows[row.step] = replace(row, started=True)
        if turn.slept is not None:
            self._record(row, replace(turn.slept, result=Finished()), turn.waited)
            return
        attempted = attempt_dry(self.memory, row, self.now)
        if isinstance(attempted.result, Slept):
            self._await(row, attempted.result.until, slept=attempted, waited=turn.waited)
        elif attempted.result is None or isinstance(attempted.result, Unknown):
            shown = self.missing[row.step] = describe(self.memory, row, attempted, waited=turn.waited)
            self.steps += [*attempted.items, shown]
        else:
            self._record(row, attempted, turn.waited)

    def _record(self, row: StepState, attempted: Attempted, waited: str) -> None:
        assert attempted.result is not None
        graph = self.memory.program.graph
        self.run = replace(self.run, number=self.run.number + 1)
        names = rows_needed(graph, self.run, row, attempted.result, ())
        needed = {name: self.rows[name] for name in names if name in self.rows}
        planned = plan(graph, self.run, row, attempted.result, rows=needed, now=self.now)
        if planned.failed_by is not None:
            attempted = replace(attempted, result=planned.failed_by, output=None)
        self.steps += [*attempted.items, describe(self.memory, row, attempted, waited=waited)]
        self._remember(row, attempted)
        self._apply(row, planned)
        if planned.ending is not None:
            self.ending, self.ended_with = planned.ending, attempted

    def _remember(self, row: StepState, attempted: Attempted) -> None:
        memory, name = self.memory, row.step
        memory.state = attempted.changes.apply(memory.state)
        if isinstance(attempted.result, Finished):
            memory.keep_output(name, attempted.output)
            memory.errors.pop(name, None)
        elif isinstance(attempted.result, Erred):
            memory.errors[name] = {"type": attempted.result.type, "message": attempted.result.message}
        if attempted.item_errors:
            memory.errors[name] = list(attempted.item_errors)

    def _apply(self, row: StepState, planned: Plan) -> None:
        self.rows[row.step] = replace(row, status=planned.row.status)
        for name in planned.skip:
            self.rows[name] = replace(self.rows[name], status=StepStatus.SKIPPED)
            self._show_passed_by(self.rows[name])
        for name in planned.retire | ({row.step} if not planned.row.current else set()):
            self.rows.pop(name, None)
            self.missing.pop(name, None)
        if planned.jumps is not None:
            self.run = replace(self.run, jumps=planned.jumps)
            self.memory.error = planned.jumps.error
        for new in planned.create:
            self._begin(new)

    def _show_passed_by(self, row: StepState) -> None:
        kind = self.memory.program.graph.steps[row.step].type
        self.steps.append(
            DryStep(
                step=row.step,
                type=kind,
                status="skipped",
                visit=row.visit,
                condition=self.memory.program.graph.steps[row.step].condition,
                note="a jump passes it by",
            )
        )
