"""What the names of expressions stand for, as far as a definition and its handlers declare it."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, lru_cache

from ..exceptions import ExpressionError, ParamsError
from ..params import Kind, declared_params
from ..params.containers import Keyed, ListOf, OneOf
from ..params.scalars import Anything, Text, Whole
from .expressions import parse_expression
from .outline import Outline
from .spec import RESERVED_STATE, StepSpec, WorkflowSpec

Path = tuple[str, ...]

SET = "flow.set"

_RUN = Keyed({"id": Text(), "key": Text(), "workflow": Text()})
_ENDED_WITH = Keyed({"type": Text(), "message": Text()})
_LED_HERE = Keyed({**_ENDED_WITH.items, "step": Text()})
_OF_ITEM = Keyed({**_ENDED_WITH.items, "index": Whole()})


class KnownNames:
    """The names of one definition. Where nothing is declared, any name may be there."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._input = _read_input(outline.spec)
        self._setters: dict[str, set[str]] = defaultdict(set)
        # Steps are looked at one after the other, and a step may have many names.
        self._before = lru_cache(maxsize=2)(self._find_before)
        for step in outline.spec.steps:
            for used in (step, step.undo):
                if used is not None and outline.type_of(used).name == SET:
                    for key in used.params:
                        self._setters[key].add(step.name)

    def find_fault(self, step: StepSpec, path: Path, *, in_undo: bool) -> str:
        """Return why ``path`` can never be read in ``step``, or in its undo; an empty text if it may be."""
        try:
            self._follow(step, path, in_undo=in_undo)
        except LookupError as error:
            return f"{'.'.join(path)}: {error.args[0]}"
        if self._is_stray(step, path, in_undo) and not self._writers(step, in_undo):
            hint = self._outline.suggest(path[0], self._named())
            return f"{path[0]}: no input is declared with this name, and no step before sets it{hint}"
        return ""

    def find_doubt(self, step: StepSpec, path: Path, *, in_undo: bool) -> str:
        """Return a warning where ``path`` is there only if the code of a handler writes it to the state."""
        writers = self._writers(step, in_undo) if self._is_stray(step, path, in_undo) else ()
        if not writers:
            return ""
        return (
            f"{path[0]}: no input is declared with this name; it is there only if the code of "
            f"{min(writers, key=self._outline.graph.position.__getitem__)} or another step writes it to the "
            f"state{self._outline.suggest(path[0], self._named())}"
        )

    def _is_stray(self, step: StepSpec, path: Path, in_undo: bool) -> bool:
        root = path[0]
        if self._input is None or root in self._input or root in RESERVED_STATE:
            return False
        setters: set[str] = self._setters.get(root, set())
        return not (in_undo and root == "output") and setters.isdisjoint(self._before(step.name, in_undo))

    def _writers(self, step: StepSpec, in_undo: bool) -> list[str]:
        return [name for name in self._before(step.name, in_undo) if name in self._writing]

    @cached_property
    def _writing(self) -> frozenset[str]:
        steps = self._outline.graph.steps
        return frozenset(name for name in steps if self._outline.type_of(steps[name]).may_write_state)

    def _find_before(self, name: str, in_undo: bool) -> frozenset[str]:
        # An undo runs when all that is to run has run.
        return frozenset(self._outline.graph.steps) if in_undo else self._outline.may_begin_before(name)

    def _named(self) -> list[str]:
        return [*(self._input or ()), *self._setters]

    def _follow(self, step: StepSpec, path: Path, *, in_undo: bool = False) -> Kind | None:
        """Return the kind of what ``path`` gives; None where unknown. Raises ``LookupError``."""
        is_step = path[0] in ("steps", "errors")
        kind = self._of_step(step, path, in_undo) if is_step else self._of_root(step, path[0], in_undo)
        for name in path[2 if is_step else 1 :]:
            if kind is None:
                break
            kind = kind.look_up(name)
        return kind

    def _of_step(self, step: StepSpec, path: Path, in_undo: bool) -> Kind | None:
        named = self._outline.graph.steps.get(path[1]) if len(path) > 1 else None
        if named is None:
            return None
        if path[0] == "errors":
            return _ENDED_WITH if named.for_each is None else OneOf((_ENDED_WITH, ListOf(_OF_ITEM)))
        output = self._outline.type_of(named).output
        if named.for_each is None:
            return output
        # What undoes an item reads the output of that item under the name of its own step.
        return None if in_undo and named is step else ListOf(output or Anything())

    def _of_root(self, step: StepSpec, root: str, in_undo: bool) -> Kind | None:
        if root == "output" and in_undo:
            return self._outline.type_of(step).output
        if root == "item":
            return self._of_item(step)
        if root in _RESERVED:
            return _RESERVED[root]
        return None if root in self._setters or self._input is None else self._input.get(root)

    def _of_item(self, step: StepSpec) -> Kind | None:
        try:
            listed = parse_expression(step.for_each or "")
            whole = None if listed.calls or not listed.start.path else self._follow(step, listed.start.path)
            return None if whole is None else whole.look_up("0")
        except (ExpressionError, LookupError):
            return None


_RESERVED: dict[str, Kind] = {"run": _RUN, "error": _LED_HERE, "index": Whole()}


def _read_input(spec: WorkflowSpec) -> dict[str, Kind] | None:
    try:
        return None if spec.input is None else {each.name: each.kind for each in declared_params(spec.input)}
    except ParamsError:
        return None
