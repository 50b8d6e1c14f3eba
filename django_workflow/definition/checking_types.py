"""What is wrong with a type and its params: whether they fit the handler, and what our own types ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from ..exceptions import ParamsError
from ..outcomes import MAX_EVENT_NAME
from ..params import declared_params
from .expressions import has_expression, is_expression
from .outline import Outline
from .reading import NO_SLUG, SLUG
from .spec import CALL, RESERVED_STATE, Problem, StepSpec, UndoSpec

MAX_KEY = 255

# Yields the param and what is wrong with it. What an expression gives is known only when it runs.
Checker = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]

_PERMISSION = re.compile(r"[A-Za-z_]\w*\.\S+")
_WHO = ("permission", "group", "users")


def check_type(
    outline: Outline, used: StepSpec | UndoSpec, step: str, *, within: str = ""
) -> Iterator[Problem]:
    """Yield what is wrong with the type and params of the step named ``step``, or of its ``undo``.

    ``within`` goes before the names of fields: ``undo.``.
    """
    type = outline.type_of(used)
    if type.trouble:
        yield Problem(type.trouble, step, f"{within}type")
    if type.params is None:
        return
    misfits = type.params.check(used.params, is_expression=is_expression)
    for name, texts in misfits.items():
        yield from (Problem(text, step, f"{within}with.{name}") for text in texts)
    checker = _CHECKERS.get(type.name)
    for name, text in checker(used.params) if checker else ():
        if name not in misfits:
            yield Problem(text, step, f"{within}with.{name}")


def _check_set(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in params:
        if key in RESERVED_STATE:
            yield key, f"{key!r} is a word of the expressions and no key of the state; take another name"


def _check_wait(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    event = params.get("event")
    if isinstance(event, (list, tuple)) and not event:
        yield "event", "an event has to be named: with none, it would wait for ever"
    for name in event if isinstance(event, (list, tuple)) else (event,):
        if _is_literal(name) and not 0 < len(name) <= MAX_EVENT_NAME:
            yield "event", f"{name!r:.60} is no event's name: it has 1 to {MAX_EVENT_NAME} characters"


def _check_approval(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = [name for name in _WHO if params.get(name) is not None]
    if len(given) != 1:
        text = "say who may answer by exactly one of permission, group and users"
        yield (given or _WHO)[-1], f"{text}; here are {' and '.join(given)}" if given else text
    yield from _check_who(params)
    yield from _check_count(params)
    form = params.get("form")
    if isinstance(form, Mapping) and not has_expression(form):
        try:
            declared_params(form)
        except ParamsError as error:
            for name, texts in error.problems.items():
                yield from (("form", f"{name}: {text}") for text in texts)


def _check_who(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _WHO:
        if params.get(name) in ("", [], ()):
            yield name, "nobody is named, so nobody could answer"
    permission = params.get("permission")
    if _is_literal(permission) and permission and not _PERMISSION.fullmatch(permission):
        yield (
            "permission",
            f"{permission!r:.120} is no permission; one reads like shop.approve_order",
        )


def _check_count(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    count, users = params.get("count", 1), params.get("users")
    if isinstance(count, str) and count.strip().lstrip("+-").isdecimal():
        count = int(count)
    if not isinstance(count, (int, float)):
        return
    if count < 1:
        yield "count", f"{count} answers are none; at least one person is asked"
    elif isinstance(users, (list, tuple)) and not has_expression(users):
        people = len({str(user) for user in users})
        if 0 < people < count:
            yield "count", f"{count} answers cannot come from {people}: nobody answers twice"


def _check_call(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    workflow, key = params.get("workflow"), params.get("key")
    if _is_literal(workflow) and not SLUG.fullmatch(workflow):
        yield "workflow", f"{workflow!r:.120} {NO_SLUG}"
    if _is_literal(key) and not 0 < len(key) <= MAX_KEY:
        yield "key", f"a key has 1 to {MAX_KEY} characters, and this one {len(key)}"


def _is_literal(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and not has_expression(value)


_CHECKERS: Mapping[str, Checker] = {
    "flow.set": _check_set,
    "flow.wait": _check_wait,
    "flow.approval": _check_approval,
    CALL: _check_call,
}
