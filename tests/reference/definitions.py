"""Random definitions with all that the flow between steps knows, and scripts that are made up on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

from django_workflow.definition.spec import DEFAULT, StepSpec, UndoSpec, WorkflowSpec
from django_workflow.outcomes import End, Goto
from django_workflow.retry import Retry
from tests.reference.rows import Key
from tests.support.definitions import ERRORS, Plain, Raises, specs

# A step's own timeout is longer than that of a wait, so that the wait's comes first.
TIMEOUT = timedelta(hours=2)
WAIT_TIMEOUT = timedelta(hours=1)
DELAY = timedelta(hours=1)
EVENTS = ("paid", "refused")
# The lists that for_each names, by their name in the state.
LISTS: Mapping[str, int] = {"none": 0, "one": 1, "two": 2, "three": 3}
UNDO_RETRY = (Retry(attempts=2, delay=DELAY),)


@dataclass(frozen=True, slots=True)
class Naps:
    """The handler asks to be called again later."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The handler waits for the first of some events; of a time limit of its own it is told."""

    names: tuple[str, ...]
    is_shared: bool = False
    has_limit: bool = False


HOW = ((False, False), (False, True), (True, False))
CallResult = Plain | Goto | End | Raises | Naps | Waits


@dataclass(frozen=True, slots=True)
class Passed:
    """The condition is false."""


@dataclass(frozen=True, slots=True)
class Spreads:
    """The step has so many items."""

    count: int


@dataclass(frozen=True, slots=True)
class Calls:
    """The step calls another workflow and waits for it."""


Outcome = CallResult | Passed | Spreads | Calls
Draw = Callable[[st.SearchStrategy[Any]], Any]

# Hypothesis likes the first and the last of many: what is rare stands between.
_WAITS = tuple(Waits(names, *how) for names in (("paid",), ("refused",), EVENTS) for how in HOW)
_RAISES = tuple(map(Raises, ERRORS))
_UNDO_RESULTS: tuple[CallResult, ...] = (Plain(), Naps(), _WAITS[0], *_RAISES, Plain(), Plain())
_REFUSED = st.sampled_from((*[False] * 4, True, *[False] * 4))


@dataclass(slots=True)
class FlowScript:
    """What each call of a handler does: drawn when it is first asked for, and kept."""

    names: tuple[str, ...]
    draw: Draw
    # From now on nothing goes wrong, so that the run comes to its end.
    is_calm: bool = False
    refused: dict[tuple[str, int], bool] = field(default_factory=dict)
    known: dict[tuple[Key, int], CallResult] = field(default_factory=dict)

    def is_refused(self, step: str, visit: int) -> bool:
        """Return whether the condition of that visit is false."""
        if (step, visit) not in self.refused:
            self.refused[step, visit] = not self.is_calm and self.draw(_REFUSED)
        return self.refused[step, visit]

    def result(self, key: Key, call: int) -> CallResult:
        """Return what the handler does in that attempt when it is called for that time."""
        if (key, call) not in self.known:
            chosen = Plain() if self.is_calm else self.draw(_results(self.names, key[2] >= 0, ":" in key[0]))
            self.known[key, call] = chosen
        return self.known[key, call]


@cache
def _results(names: tuple[str, ...], is_item: bool, is_undo: bool) -> st.SearchStrategy[CallResult]:
    if is_undo:
        return st.sampled_from(_UNDO_RESULTS)
    jumps = () if is_item else tuple(map(Goto, names))
    usual = (Plain(),) * (6 + len(jumps)) + _RAISES
    return st.sampled_from((*usual, *jumps, End("end"), Naps(), *_WAITS, *usual))


@st.composite
def flow_specs(draw: st.DrawFn) -> WorkflowSpec:
    """Draw a valid definition of 1 to 5 steps, some of which call another workflow or have items."""
    spec = draw(specs(least=2, most=6))
    steps = tuple(_with_flow(step, draw(_FLOW)) for step in spec.steps)
    return replace(spec, steps=steps, on_failure=draw(st.sampled_from(("undo", None))))


@dataclass(frozen=True, slots=True)
class _Flow:
    is_call: bool
    for_each: str | None
    max_parallel: int | None
    has_timeout: bool
    has_delay: bool
    has_undo: bool
    is_retried_late: bool
    is_strict: bool


_FLOW = st.builds(
    _Flow,
    is_call=st.sampled_from((False, True, False, False)),
    for_each=st.sampled_from((None, None, "none", "one", "two", "three", "three", None, None)),
    max_parallel=st.sampled_from((None, 1, 2)),
    has_timeout=st.booleans(),
    has_delay=st.sampled_from((False, True, False, False)),
    has_undo=st.sampled_from((True, False, True)),
    is_retried_late=st.booleans(),
    is_strict=st.booleans(),
)


def _with_flow(step: StepSpec, flow: _Flow) -> StepSpec:
    return replace(
        step,
        type="flow.call" if flow.is_call else "tests.play",
        params={"workflow": "child"} if flow.is_call else {},
        for_each=flow.for_each,
        max_parallel=flow.max_parallel if flow.for_each else None,
        timeout=TIMEOUT if flow.has_timeout else DEFAULT,
        delay=DELAY if flow.has_delay else None,
        undo=UndoSpec(type="tests.play_undo") if flow.has_undo else None,
        retry=_later(step.retry) if flow.is_retried_late else step.retry,
        on_error="fail" if flow.is_strict else step.on_error,
    )


def _later(policies: tuple[Retry, ...] | None) -> tuple[Retry, ...] | None:
    return policies and tuple(replace(policy, delay=DELAY) for policy in policies)
