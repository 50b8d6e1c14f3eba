"""A definition as frozen values: what the text says, checked for shape, before anyone asks what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from ..retry import Retry
from ..spelling import MOST_PROBLEMS, cut

FORMAT = 1
MAX_STEPS = 1000
MAX_ITEMS = 10_000

JUMP = "jump"
CALL = "flow.call"
APPROVAL = "flow.approval"
_LONGEST_MESSAGE = 1000
RESERVED_NAMES = frozenset({"end", "fail", "continue", JUMP})
RESERVED_STATE = frozenset({"steps", "errors", "run", "item", "index", "error"})

Level = Literal["error", "warning"]


class _Default:
    """The value of a field that the definition leaves out where ``null`` means something else."""

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = _Default()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a definition: where (``step`` and ``field``, either may be empty) and what."""

    message: str
    step: str = ""
    field: str = ""
    level: Level = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", cut(self.message, _LONGEST_MESSAGE))

    def __str__(self) -> str:
        parts = (self.step and f"step {cut(self.step)!r}", cut(self.field))
        place = ", ".join(part for part in parts if part)
        return f"{place}: {self.message}" if place else self.message


_MORE = Problem(f"only the first {MOST_PROBLEMS} problems are listed; mend these first")


def first_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return the first hundred problems of each level; after a hundred errors stop looking, and say so."""
    found: dict[Level, list[Problem]] = {"error": [], "warning": []}
    last: list[Problem] = []
    for problem in problems:
        if problem == _MORE:
            last = [_MORE]
        elif len(found[problem.level]) < MOST_PROBLEMS:
            found[problem.level].append(problem)
        elif problem.level == "error":
            last = [_MORE]
            break
    return [*found["error"], *found["warning"], *last]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoSpec:
    """What compensation runs for a step: a type and its params."""

    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One step of a definition. ``needs`` is None when left out, ``"jump"``, or a tuple of names."""

    name: str
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    condition: str | None = None
    needs: tuple[str, ...] | Literal["jump"] | None = None
    join: Literal["all", "any"] = "all"
    for_each: str | None = None
    max_parallel: int | None = None
    retry: tuple[Retry, ...] | None = None
    timeout: timedelta | _Default | None = DEFAULT
    on_error: str | Mapping[str, str] = "fail"
    undo: UndoSpec | None = None
    next: str | None = None
    delay: timedelta | None = None
    queue: str | None = None

    def error_action(self, names: tuple[str, ...]) -> str:
        """Return ``fail``, ``continue`` or a step name for an error with ``names``, nearest class first."""
        if isinstance(self.on_error, str):
            return self.on_error
        return next((self.on_error[name] for name in (*names, "*") if name in self.on_error), "fail")

    @property
    def error_targets(self) -> tuple[str, ...]:
        """The step names that ``on_error`` may jump to."""
        actions = (self.on_error,) if isinstance(self.on_error, str) else tuple(self.on_error.values())
        return tuple(dict.fromkeys(action for action in actions if action not in ("fail", "continue")))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A whole definition. ``input`` is None where any JSON object may start a run."""

    name: str
    steps: tuple[StepSpec, ...]
    description: str = ""
    input: Mapping[str, Any] | None = None
    queue: str | None = None
    timeout: timedelta | None = None
    on_failure: str | Mapping[str, Any] | None = None
    max_visits: int | None = None
