"""Input declared in a definition: a name → a type, or a type with more about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from django.apps import apps

from ..exceptions import ParamsError
from ..spelling import MOST_PROBLEMS, closest, cut, some
from .annotations import kind_of
from .containers import Choice, OneOf
from .hidden import without_hidden
from .param import Param, Params, Problems
from .reading import Kind, Misfit, Reading, shown
from .rows import Row
from .scalars import Nothing

TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "decimal": Decimal,
    "date": date,
    "datetime": datetime,
    "time": time,
    "timedelta": timedelta,
    "duration": timedelta,
    "uuid": UUID,
    "list": list,
    "dict": dict,
    "any": Any,
}
KEYS = ("type", "required", "default", "help", "choices", "initial")


def declared_params(input: Mapping[str, Any]) -> Params:
    """Return the params of a declared ``input``: name → type name, model label, or a dict of :data:`KEYS`.

    Raises ``ParamsError`` with everything that is wrong with the declaration.
    """
    items, problems = [], Problems()
    for name, declared in input.items():
        if len(problems) == MOST_PROBLEMS:
            break
        if not isinstance(name, str):
            problems[str(name)] = ["the name must be text"]
            continue
        try:
            items.append(_param(name, declared))
        except Misfit as misfit:
            problems[cut(name)] = _without_hidden(name, declared, misfit.problems)
    if problems:
        raise ParamsError("input", problems)
    return Params(items=tuple(items))


def _without_hidden(name: str, declared: Any, problems: Sequence[str]) -> list[str]:
    texts = list(problems)
    if isinstance(declared, Mapping):
        choices = declared.get("choices")
        pairs = [each if isinstance(each, (list, tuple)) else (each,) for each in _items(choices)]
        for value in (declared.get("default"), declared.get("initial"), *chain(*pairs)):
            texts = texts if value is None else without_hidden(name, value, texts)
    return texts


def _items(choices: Any) -> Sequence[Any]:
    return choices if isinstance(choices, (list, tuple)) else ()


def _param(name: str, declared: Any) -> Param:
    about = {"type": declared} if isinstance(declared, str) else declared
    if not isinstance(about, Mapping):
        raise Misfit(f"{shown(declared)} is no type: give its name, or a mapping of {', '.join(KEYS)}")
    problems = _about_problems(about)
    try:
        kind = _restricted(_kind(about.get("type", "any")), about.get("choices"))
        for key in ("default", "initial"):
            if about.get(key) is not None:
                kind.convert(about[key], Reading())
    except Misfit as misfit:
        raise Misfit(*problems, *misfit.problems) from None
    if problems:
        raise Misfit(*problems)
    required = bool(about.get("required", about.get("default") is None))
    return Param(
        name=name,
        python_name=name,
        kind=kind if required else OneOf((kind, Nothing())),
        required=required,
        default=about.get("default"),
        fills=True,
        help=str(about.get("help", "")),
        initial=about.get("initial"),
    )


def _about_problems(about: Mapping[str, Any]) -> list[str]:
    problems = [f"unknown key {key!r}; known: {', '.join(KEYS)}" for key in about if key not in KEYS]
    if not isinstance(about.get("required", False), bool):
        problems.append(f"required: {shown(about['required'])} is neither true nor false")
    elif about.get("required") and about.get("default") is not None:
        problems.append("what is required needs no default")
    if not isinstance(about.get("help", ""), str):
        problems.append(f"help: {shown(about['help'])} is no text")
    return problems


def _kind(name: Any) -> Kind:
    if not isinstance(name, str):
        raise Misfit(f"{shown(name)} is no name of a type")
    if "." in name:
        try:
            return Row(apps.get_model(name))
        except (LookupError, ValueError):
            raise Misfit(f"no installed app has the model {shown(name)}") from None
    known = TYPES.get(name) or TYPES.get(name.lower())
    if known is not None:
        return kind_of(known)
    near = closest(name, TYPES)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(TYPES)}, or a model as 'app.Model'"
    raise Misfit(f"unknown type {shown(name)}; {hint}")


def _restricted(kind: Kind, choices: Any) -> Kind:
    if choices is None:
        return kind
    if not isinstance(choices, (list, tuple)) or not choices or isinstance(kind, Row):
        raise Misfit("choices: give a list of values, or of [value, label], for a type that is no model")
    pairs = [each if isinstance(each, (list, tuple)) else (each, str(each)) for each in choices]
    wrong = [shown(each) for each in pairs if len(each) != 2]
    if wrong:
        raise Misfit(f"choices: {some(wrong)} is no [value, label]")
    return Choice(tuple((kind.convert(value, Reading()), str(label)) for value, label in pairs))
