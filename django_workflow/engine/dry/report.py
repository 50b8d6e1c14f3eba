"""What a dry run found: each step that it came to, and how the run would end. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Fate = Literal["done", "skipped", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryStep:
    """One visit of one step, or of one item of its ``for_each`` (``index``; -1 for the step itself).

    ``params`` and ``output`` are JSON as a step run keeps them; ``condition`` is the text of its ``if``,
    ``note`` says why it was skipped or stopped, or how long it would wait; ``error`` why it failed.
    """

    step: str
    type: str
    status: Fate
    visit: int = 1
    index: int = -1
    params: Mapping[str, Any] | None = None
    output: Any = None
    condition: str | None = None
    note: str = ""
    error: str = ""
    error_type: str = ""

    @property
    def label(self) -> str:
        """The name of the step, with the index of the item."""
        return self.step if self.index < 0 else f"{self.step}[{self.index}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do, as far as the outputs of its steps are known.

    ``status`` is ``done`` or ``failed``, or ``stopped`` where an output is missing. ``missing`` names the
    steps that wait for one, ``stopped_at`` the first of them. ``path`` names the steps that ran, in order;
    ``state`` and ``output`` are JSON as a run keeps them; ``problems`` what is odd about the dry run itself.
    """

    workflow: str
    version: int
    status: Literal["done", "failed", "stopped"]
    steps: tuple[DryStep, ...] = ()
    state: Mapping[str, Any]
    output: Any = None
    error: str = ""
    error_type: str = ""
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the steps that ran, once for each visit, in the order in which they ended."""
        return tuple(each.step for each in self.steps if each.index < 0 and each.status in ("done", "failed"))

    @property
    def stopped_at(self) -> str:
        """The first step whose output is missing; empty where none is."""
        return self.missing[0] if self.missing else ""

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        own = _values(self) | {"path": list(self.path), "stopped_at": self.stopped_at}
        listed = {name: list(own[name]) for name in ("missing", "problems")}
        return {**own, **listed, "steps": [_values(each) for each in self.steps]}


def _values(found: DryRun | DryStep) -> dict[str, Any]:
    return {each.name: getattr(found, each.name) for each in fields(found)}
