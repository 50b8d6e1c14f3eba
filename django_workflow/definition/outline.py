"""A spec beside what the registry knows of its types: where steps may jump to, what may come before them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..exceptions import RegistrationError
from ..params import Kind, Params
from ..params.containers import DictOf, ListOf, OneOf
from ..registry import Handler, suggest_type
from ..spelling import MOST_HINTS, closest, cut, some
from .graph import Graph
from .returns import ANYTHING, Arms, always_ends, always_leaves, may_leave, output_kind, read_returns
from .spec import JUMP, StepSpec, UndoSpec, WorkflowSpec

END = "end"

GetHandler = Callable[[str], Handler | None]

# The params of our own types that, given together, leave no way to go on to the step below.
_DECIDING = {"flow.branch": ("then", "else"), "flow.switch": ("default",)}
_OWN_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepType:
    """A step's type as the registry has it. ``trouble`` says why ``handler`` or ``params`` is None."""

    handler: Handler | None = None
    params: Params | None = None
    trouble: str = ""
    returns: Arms = ANYTHING
    output: Kind | None = None

    @property
    def name(self) -> str:
        """The registered type, also where the definition uses an alias; an empty text when unknown."""
        return self.handler.type if self.handler else ""

    @property
    def may_jump_by_itself(self) -> bool:
        """Whether the handler's own code could return a ``Goto``; ours do so by their params only."""
        return self.handler is not None and self.handler.function.__module__.partition(".")[0] != _OWN_PACKAGE

    @property
    def may_write_state(self) -> bool:
        """Whether the handler could write keys of the state that the definition does not name."""
        if self.handler is None or self.params is None:
            return True
        return self.may_jump_by_itself and self.handler.signature.context_name is not None

    @property
    def always_leaves(self) -> bool:
        """Whether the handler says that it never goes on: it jumps, ends the run or fails."""
        return always_leaves(self.returns)

    @property
    def always_ends(self) -> bool:
        """Whether the handler says that it always ends the run as done."""
        return always_ends(self.returns)

    @property
    def may_leave_by_itself(self) -> bool:
        """Whether the handler's code may jump or end the run, as far as it does not say otherwise."""
        return may_leave(self.returns) or (self.may_jump_by_itself and self.returns >= ANYTHING)


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that a definition names: the field that does, and its target, which may be wrong."""

    field: str
    target: str


class Outline:
    """The steps of ``spec`` with their types and jumps, and what follows from these."""

    def __init__(self, spec: WorkflowSpec, get_handler: GetHandler) -> None:
        self.spec = spec
        self.graph = Graph(spec.steps)
        self._hints = 0
        used: list[StepSpec | UndoSpec] = [*spec.steps, *(step.undo for step in spec.steps if step.undo)]
        self._types = {type: read_type(type, get_handler) for type in {each.type for each in used}}

    def type_of(self, step: StepSpec | UndoSpec) -> StepType:
        """Return the type of a step, or of what undoes one."""
        return self._types[step.type]

    def suggest(self, name: str, known: Collection[str] | None = None) -> str:
        """Return the hint for an unknown ``name``, of a step by default: a close one, or some that are known.

        The first twenty unknown names get a hint: each is compared with a thousand.
        """
        self._hints += 1
        if self._hints > MOST_HINTS:
            return ""
        known = self.graph.steps if known is None else known
        close = closest(name, known)
        return f"; did you mean {close!r}?" if close else f"; known are {some(map(cut, known)) or 'none'}"

    def jumps(self, step: StepSpec) -> Iterator[Jump]:
        """Yield every jump that ``step`` names, to ``end`` too."""
        if step.next is not None:
            yield Jump("next", step.next)
        yield from (Jump("on_error", target) for target in step.error_targets)
        yield from (jump for jump in self.named_in_params(step) if "{{" not in jump.target)

    def named_in_params(self, step: StepSpec | UndoSpec) -> Iterator[Jump]:
        """Yield the values of the params annotated ``StepName``, expressions included."""
        for param in self.type_of(step).params or ():
            if param.name in step.params:
                for value in _step_names(param.kind, step.params[param.name]):
                    yield Jump(f"with.{param.name}", value)

    def targets(self, name: str) -> tuple[str, ...]:
        """Return the steps that the step ``name`` may jump to by what the definition says."""
        return self._targets[name]

    @cached_property
    def _targets(self) -> dict[str, tuple[str, ...]]:
        known = self.graph.steps
        return {
            name: tuple(dict.fromkeys(jump.target for jump in self.jumps(step) if jump.target in known))
            for name, step in known.items()
        }

    @cached_property
    def jumping_anywhere(self) -> frozenset[str]:
        """The steps whose targets are not known here: an expression names them, or the type is unknown."""
        return frozenset(
            name
            for name, step in self.graph.steps.items()
            if self.type_of(step).params is None
            or any("{{" in jump.target for jump in self.named_in_params(step))
        )

    @cached_property
    def origins(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, those that name it as the target of a jump."""
        origins: dict[str, list[str]] = {name: [] for name in self.graph.steps}
        for name in self.graph.steps:
            for target in self.targets(name):
                origins[target].append(name)
        return {name: tuple(names) for name, names in origins.items()}

    @cached_property
    def unnamed(self) -> frozenset[str]:
        """The steps with ``needs: jump`` that no jump names."""
        return frozenset(
            name for name, step in self.graph.steps.items() if step.needs == JUMP and not self.origins[name]
        )

    def always_leaves(self, name: str) -> bool:
        """Tell whether the step never goes on to what needs it: whenever it runs, it jumps, ends or fails."""
        step = self.graph.steps[name]
        if step.condition is not None or step.error_action(()) == "continue" or "continue" in _actions(step):
            return False
        if step.next is not None:
            return True
        type = self.type_of(step)
        given = [step.params.get(param) for param in _DECIDING.get(type.name, ())]
        return step.for_each is None and (type.always_leaves or (bool(given) and None not in given))

    def going_on(self, name: str) -> tuple[str, ...]:
        """Return what starts after the step by ``needs``: nothing where it always leaves."""
        return () if self.always_leaves(name) else self.graph.dependents[name]

    @cached_property
    def reached(self) -> frozenset[str]:
        """The steps that some path of needs and named jumps reaches from the start."""

        def follow(name: str) -> Iterable[str]:
            if name in self.jumping_anywhere:
                return self.graph.steps
            return (*self.going_on(name), *self.targets(name))

        return closure(self.graph.starts, follow)

    def may_precede(self, name: str) -> frozenset[str]:
        """Return the steps that may have run when ``name`` starts: by needs, or by a path with jumps."""

        def lead_here(each: str) -> Iterable[str]:
            if each in self.unnamed:
                return self.graph.steps
            return (*self.graph.needs[each], *self.origins[each])

        return closure((*lead_here(name), *self.jumping_anywhere), lead_here)

    def may_begin_before(self, name: str) -> frozenset[str]:
        """Return the steps that may have begun when ``name`` starts: those in parallel branches, too."""
        beside = self.graph.steps.keys() - self.graph.after(name) - {name}
        return self.may_precede(name) | beside


def read_type(type: str, get_handler: GetHandler) -> StepType:
    """Return what is known of the step type ``type``, or what to say about it."""
    handler = get_handler(type)
    if handler is None:
        return StepType(trouble=suggest_type(type) if type else "a type is needed, such as mail.send")
    try:
        params, returns = handler.params, read_returns(handler.function)
        return StepType(handler=handler, params=params, returns=returns, output=output_kind(returns))
    except RegistrationError as error:
        return StepType(handler=handler, trouble=str(error))


def closure(starts: Iterable[str], follow: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Return ``starts`` and everything that ``follow`` leads to from them."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(other for other in follow(each) if other not in found)
    return frozenset(found)


def _actions(step: StepSpec) -> tuple[str, ...]:
    return () if isinstance(step.on_error, str) else tuple(step.on_error.values())


def _step_names(kind: Kind, value: Any) -> Iterator[str]:
    if isinstance(kind, OneOf):
        names = [name for inner in kind.kinds for name in _step_names(inner, value)]
        yield from dict.fromkeys(names)
    elif isinstance(kind, ListOf) and isinstance(value, (list, tuple)):
        for each in value:
            yield from _step_names(kind.item, each)
    elif isinstance(kind, DictOf) and isinstance(value, Mapping):
        for each in value.values():
            yield from _step_names(kind.item, each)
    elif kind.marker == "step" and isinstance(value, str):
        yield value
    elif _holds_step_names(kind) and isinstance(value, str) and "{{" in value:
        yield value  # an expression that gives the whole list or mapping


def _holds_step_names(kind: Kind) -> bool:
    return isinstance(kind, (ListOf, DictOf)) and (kind.item.marker == "step" or _holds_step_names(kind.item))
