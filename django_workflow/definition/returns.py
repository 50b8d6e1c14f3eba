"""What a handler's annotation says of what it returns: whether it may jump or end the run, or always does."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, Never, NoReturn, Union, get_args, get_origin, get_type_hints

from ..outcomes import AskApproval, CallWorkflow, End, Goto, Sleep, WaitForEvent
from ..params import Kind
from ..params.annotations import kind_of
from ..params.containers import OneOf
from ..params.scalars import Nothing

Arms = frozenset[Any]

ANYTHING: Arms = frozenset({Any})

_FAILING = frozenset({NoReturn, Never})
# After these the handler is called again: its output is another.
_WAITING = frozenset({AskApproval, CallWorkflow, Sleep, WaitForEvent})
_LEAVING = frozenset({Goto, End}) | _FAILING


def read_returns(function: Callable[..., Any]) -> Arms:
    """Return the alternatives of the return annotation; :data:`ANYTHING` where it cannot be read."""
    inner = inspect.unwrap(function)
    annotations = getattr(inner, "__annotations__", {})
    if "return" not in annotations:
        return ANYTHING
    stand_in = SimpleNamespace(__annotations__={"return": annotations["return"]})
    try:
        hint = get_type_hints(stand_in, globalns=getattr(inner, "__globals__", {}))["return"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return ANYTHING
    return _arms(hint)


def output_kind(returns: Arms) -> Kind | None:
    """Return the kind of the output that the annotation declares; None where it does not say."""
    if returns >= ANYTHING or returns & {Goto, End}:
        return None
    try:
        kinds = tuple(kind_of(arm) for arm in returns - _WAITING - _FAILING)
    except TypeError:
        return None
    # Nothing at all is what most handlers return; a person who skips the step may give it an output.
    is_told = any(not isinstance(kind, Nothing) for kind in kinds)
    return OneOf(kinds) if is_told else None


def always_leaves(returns: Arms) -> bool:
    """Tell whether nothing comes back but a jump, an end, or an error."""
    return returns <= _LEAVING


def always_ends(returns: Arms) -> bool:
    """Tell whether nothing comes back but the end of the run."""
    return returns == {End}


def may_leave(returns: Arms) -> bool:
    """Tell whether a jump or an end may come back, or only an error does."""
    return bool(returns & _LEAVING)


def _arms(hint: Any) -> Arms:
    origin = get_origin(hint)
    if origin is Annotated:
        return _arms(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return frozenset[Any]().union(*map(_arms, get_args(hint)))
    is_plain = isinstance(origin or hint, type) and hint is not object
    return frozenset({hint}) if is_plain or hint in _FAILING else ANYTHING
