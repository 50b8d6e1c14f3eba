"""Random valid definitions, and scripts that say what each call of a step does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Literal

from hypothesis import strategies as st

from django_workflow.definition.graph import Graph
from django_workflow.definition.spec import StepSpec, WorkflowSpec
from django_workflow.exceptions import PermanentError
from django_workflow.outcomes import End, Goto
from django_workflow.retry import Retry

MAX_STEPS = 8
MAX_VISITS = 5
MAX_ATTEMPTS = 3
NAMES = tuple("abcdefgh")

Needs = tuple[str, ...] | Literal["jump"] | None


class CardError(Exception):
    """An error of a handler."""


class CardExpired(CardError):
    """A narrower error, so that policies can match it by its base."""


class Refused(PermanentError):
    """An error that is never retried."""


ERRORS: tuple[type[Exception], ...] = (CardError, CardExpired, Refused)
ERROR_NAMES = ("CardError", "CardExpired", "Refused", "PermanentError", "*")


@dataclass(frozen=True, slots=True)
class Plain:
    """The handler returns a plain value."""


@dataclass(frozen=True, slots=True)
class Raises:
    """The handler raises an error of the class ``error``."""

    error: type[Exception]


Result = Plain | Goto | End | Raises


@dataclass(frozen=True, slots=True)
class Script:
    """What each call of a step does: ``results`` by (step, visit, attempt), else it returns a plain value.

    ``refused`` holds the (step, visit) whose ``if`` is false, where the step has one.
    """

    results: Mapping[tuple[str, int, int], Result] = field(default_factory=dict)
    refused: frozenset[tuple[str, int]] = frozenset()

    def result(self, step: str, *, visit: int, attempt: int) -> Result:
        """Return what the handler of ``step`` does in that attempt."""
        return self.results.get((step, visit, attempt), Plain())


@dataclass(frozen=True, slots=True)
class Case:
    """A definition, its script, and the choices of a scheduler: each is taken modulo what can be picked."""

    spec: WorkflowSpec
    script: Script
    choices: tuple[int, ...] = ()


def names_of(spec: WorkflowSpec) -> tuple[str, ...]:
    """Return the names of the steps of ``spec``."""
    return tuple(step.name for step in spec.steps)


@cache
def _ranks(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    # A step needs only steps of a lower rank: no cycle comes up, and needs may stand below it in the list.
    in_order = tuple(range(count))
    return st.just(in_order) | st.permutations(in_order).map(tuple)


@cache
def _needs(earlier: frozenset[str], *, left_out: bool) -> st.SearchStrategy[Needs]:
    if not earlier:  # so that one step at least starts with the run
        return st.sampled_from((None, ()) if left_out else ((),))
    lists = st.lists(st.sampled_from(sorted(earlier)), min_size=1, max_size=3, unique=True).map(tuple)
    words: tuple[Needs, ...] = ("jump", ())
    return st.one_of(st.sampled_from((None, None, *words) if left_out else words), lists, lists)


def _needs_at(position: int, ranks: tuple[int, ...]) -> st.SearchStrategy[Needs]:
    earlier = frozenset(NAMES[other] for other, rank in enumerate(ranks) if rank < ranks[position])
    return _needs(earlier, left_out=position == 0 or ranks[position - 1] < ranks[position])


_RETRIES = st.lists(
    st.builds(
        Retry,
        attempts=st.sampled_from((2, MAX_ATTEMPTS, 1)),
        delay=st.just(timedelta(0)),
        errors=st.sampled_from(((), (), *((name,) for name in ERROR_NAMES[:-1]))),
    ),
    max_size=2,
).map(lambda policies: tuple(policies) or None)


@cache
def _on_errors(names: tuple[str, ...]) -> st.SearchStrategy[str | Mapping[str, str]]:
    action = st.sampled_from(("continue", *names, "fail"))
    return action | st.dictionaries(st.sampled_from(ERROR_NAMES), action, min_size=1, max_size=3)


@cache
def _steps(names: tuple[str, ...], name: str, needs: st.SearchStrategy[Needs]) -> st.SearchStrategy[StepSpec]:
    return st.builds(
        StepSpec,
        name=st.just(name),
        type=st.just("test.step"),
        condition=st.sampled_from((None, "ready")),
        needs=needs,
        join=st.sampled_from(("all", "any")),
        retry=_RETRIES,
        on_error=_on_errors(names),
        next=st.sampled_from((None,) * 4 * len(names) + names + ("end",)),
    )


@st.composite
def specs(draw: st.DrawFn, least: int = 1, most: int = MAX_STEPS) -> WorkflowSpec:
    """Draw a valid definition of ``least`` to ``most`` steps."""
    many = st.integers(min(5, most), most)
    count = draw(st.integers(least, most) | many | many)
    names = NAMES[:count]
    ranks = draw(_ranks(count))
    steps = tuple(draw(_steps(names, name, _needs_at(place, ranks))) for place, name in enumerate(names))
    graph = Graph(steps)
    assert not graph.on_cycle
    assert graph.starts
    return WorkflowSpec(name="random", steps=steps, max_visits=draw(st.integers(2, MAX_VISITS)))


@st.composite
def scripts(draw: st.DrawFn, spec: WorkflowSpec) -> Script:
    """Draw a script for ``spec``: each byte is what one attempt does."""
    names = names_of(spec)
    plain = (Plain(),) * (len(names) + len(ERRORS))
    table: tuple[Result, ...] = (*plain, *map(Raises, ERRORS + ERRORS[:2]), *map(Goto, names), End())
    calls = [(visit, attempt) for visit in range(1, MAX_VISITS + 1) for attempt in range(1, MAX_ATTEMPTS + 1)]
    results = {
        (name, *call): table[byte % len(table)]
        for name in names
        for call, byte in zip(calls, draw(_BYTES), strict=False)
    }
    return Script(results, draw(_refused(names)))


_BYTES = st.binary(min_size=3, max_size=MAX_VISITS * MAX_ATTEMPTS)


@cache
def _refused(names: tuple[str, ...]) -> st.SearchStrategy[frozenset[tuple[str, int]]]:
    return st.frozensets(st.tuples(st.sampled_from(names), st.integers(1, MAX_VISITS)), max_size=4)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a definition, a script for it and the choices of a scheduler."""
    spec = draw(specs())
    return Case(spec, draw(scripts(spec)), tuple(draw(st.binary(min_size=20, max_size=60))))
