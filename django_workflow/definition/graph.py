"""The order of steps: what each needs, what comes after it, and which are reached by a jump only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from .spec import JUMP, StepSpec


class Graph:
    """The steps of one definition as a directed graph by ``needs``.

    A step that leaves out ``needs`` needs the step right above it. Names that no step has are left out here;
    validation names them. Reading it costs time in proportion to the steps it touches, so that long lists
    stay cheap.
    """

    def __init__(self, steps: Iterable[StepSpec]) -> None:
        self.steps: dict[str, StepSpec] = {step.name: step for step in steps}
        self.position = {name: position for position, name in enumerate(self.steps)}
        self.needs = self._read_needs()
        self.dependents = self._invert(self.needs)
        self._after: dict[str, frozenset[str]] = {}

    def _read_needs(self) -> dict[str, tuple[str, ...]]:
        needs: dict[str, tuple[str, ...]] = {}
        above: tuple[str, ...] = ()
        for name, step in self.steps.items():
            if step.needs is None:
                needs[name] = above
            else:
                needs[name] = (
                    () if step.needs == JUMP else tuple(need for need in step.needs if need in self.steps)
                )
            above = (name,)
        return needs

    @staticmethod
    def _invert(needs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        dependents: dict[str, list[str]] = {name: [] for name in needs}
        for name, needed in needs.items():
            for need in needed:
                dependents[need].append(name)
        return {name: tuple(names) for name, names in dependents.items()}

    def after(self, name: str) -> frozenset[str]:
        """Return the names of all steps that come after ``name`` by ``needs``, transitively."""
        if name not in self._after:
            self._after[name] = _closure(name, self.dependents)
        return self._after[name]

    def before(self, name: str) -> frozenset[str]:
        """Return the names of all steps that ``name`` comes after, transitively."""
        return _closure(name, self.needs)

    def region(self, target: str) -> frozenset[str]:
        """Return what a jump to ``target`` begins anew: the target and everything after it."""
        return self.after(target) | {target}

    @cached_property
    def jump_only(self) -> frozenset[str]:
        """The steps that only a jump starts: those that say so, and those that need only such steps."""
        found: set[str] = set()
        for name in self.in_order:
            needed = self.needs[name]
            if self.steps[name].needs == JUMP or (needed and all(need in found for need in needed)):
                found.add(name)
        return frozenset(found)

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The steps that start with the run, in list order."""
        return tuple(name for name, needed in self.needs.items() if not needed and name not in self.jump_only)

    @cached_property
    def in_order(self) -> tuple[str, ...]:
        """The names so that each comes after what it needs (Kahn); those on a cycle are left out."""
        missing = {name: len(needed) for name, needed in self.needs.items()}
        ready = [name for name, count in missing.items() if not count]
        for name in ready:
            for dependent in self.dependents[name]:
                missing[dependent] -= 1
                if not missing[dependent]:
                    ready.append(dependent)
        return tuple(ready)

    @cached_property
    def is_linear(self) -> bool:
        """Whether a run never has more than one live step: one start, no branches, no items."""
        return (
            len(self.starts) <= 1
            and all(len(names) <= 1 for names in self.dependents.values())
            and all(step.for_each is None for step in self.steps.values())
        )

    @property
    def on_cycle(self) -> tuple[str, ...]:
        """The steps that need themselves by way of others, and what comes after these."""
        ordered = set(self.in_order)
        return tuple(name for name in self.steps if name not in ordered)

    @cached_property
    def ancestors_on_path(self) -> dict[str, frozenset[str]]:
        """For each step that only a jump starts: itself and what it needs, transitively."""
        return {name: (self.before(name) | {name}) & self.jump_only for name in self.jump_only}


def _closure(name: str, edges: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(edges[each])
    return frozenset(found)
