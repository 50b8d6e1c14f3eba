"""From an annotation to its kind."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import Parameter
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from django.db.models import Model

from .containers import Choice, DictOf, Keyed, ListOf, Member, OneOf
from .markers import Marker
from .moments import Date, DateTime, Duration, Time
from .named import ConditionKind, SecretKind, StepNameKind
from .outside import Validated
from .reading import Kind
from .rows import Row
from .scalars import Anything, Exact, Float, Identifier, Nothing, Text, Truth, Whole

ANYTHING = Anything()
_PLAIN: dict[Any, Kind] = {
    str: Text(),
    int: Whole(),
    float: Float(),
    bool: Truth(),
    Decimal: Exact(),
    date: Date(),
    datetime: DateTime(),
    time: Time(),
    timedelta: Duration(),
    UUID: Identifier(),
    list: ListOf(ANYTHING),
    Sequence: ListOf(ANYTHING),
    dict: DictOf(ANYTHING),
    Mapping: DictOf(ANYTHING),
    None: Nothing(),
    types.NoneType: Nothing(),
    Any: ANYTHING,
    object: ANYTHING,
    Parameter.empty: ANYTHING,
}
_MARKED: dict[str, Kind] = {"secret": SecretKind(), "step": StepNameKind(), "condition": ConditionKind()}


def kind_of(annotation: Any) -> Kind:
    """Return the kind that reads values for a resolved ``annotation``. Raises ``TypeError``: none does."""
    annotation = _unnamed(annotation)
    origin = get_origin(annotation)
    if origin is not None:
        return _generic(origin, get_args(annotation), annotation)
    if isinstance(annotation, type):
        kind = _PLAIN.get(annotation) or _class(annotation)
    else:
        kind = _PLAIN.get(annotation) if annotation is None or annotation is Any else None
    if kind is None:
        raise TypeError(f"{annotation!r} is no type for params")
    return kind


def help_of(annotation: Any) -> str:
    """Return the text in ``Annotated[T, "text"]``, also where it is one arm of ``… | None``."""
    annotation = _unnamed(annotation)
    if get_origin(annotation) is Annotated:
        texts = [each for each in annotation.__metadata__ if isinstance(each, str)]
        return texts[0] if texts else help_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next(filter(None, map(help_of, get_args(annotation))), "")
    return ""


def _unnamed(annotation: Any) -> Any:
    # NewType keeps its type as __supertype__, the statement ``type X = …`` as __value__.
    while not isinstance(annotation, (type, Enum)):
        inner = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
        if inner is None or get_origin(annotation) is not None:
            break
        annotation = inner
    return annotation


def _generic(origin: Any, arguments: tuple[Any, ...], annotation: Any) -> Kind:
    make = _GENERIC.get(origin)
    if make is None:
        raise TypeError(f"{annotation!r} is no type for params")
    if origin is Annotated:
        arguments = (arguments[0], *annotation.__metadata__)
    return make(arguments)


def _class(annotation: type) -> Kind | None:
    if issubclass(annotation, Model):
        if not hasattr(annotation, "_meta") or annotation._meta.abstract:
            raise TypeError(f"{annotation!r} is abstract: it has no rows")
        return Row(annotation)
    if issubclass(annotation, Enum):
        return Member(annotation)
    if issubclass(annotation, dict) and hasattr(annotation, "__required_keys__"):
        return _keyed(annotation)
    if hasattr(annotation, "model_validate") and hasattr(annotation, "model_json_schema"):
        return Validated(annotation)
    return None


def _keyed(annotation: Any) -> Kind:
    """Return the kind of a ``TypedDict``."""
    items, required = {}, set()
    try:
        for key, hint in get_type_hints(annotation, include_extras=True).items():
            # A class whose annotations are texts does not know which of them say NotRequired.
            is_required = key in annotation.__required_keys__ and get_origin(hint) is not NotRequired
            required |= {key} if is_required or get_origin(hint) is Required else set()
            items[key] = kind_of(get_args(hint)[0] if get_origin(hint) in _QUALIFIERS else hint)
    except (NameError, AttributeError, SyntaxError, RecursionError) as error:
        raise TypeError(f"{annotation!r} cannot be resolved: {error}") from error
    return Keyed(items=items, required=frozenset(required))


def _annotated(arguments: tuple[Any, ...]) -> Kind:
    inner, *metadata = arguments
    marked = next((_MARKED[each.name] for each in metadata if isinstance(each, Marker)), None)
    return marked or kind_of(inner)


def _dict(arguments: tuple[Any, ...]) -> Kind:
    key, item = arguments
    if key not in (str, Any):
        raise TypeError(f"dict[{key!r}, …]: keys must be str, as in JSON")
    return DictOf(kind_of(item))


def _list(arguments: tuple[Any, ...]) -> Kind:
    return ListOf(kind_of(arguments[0]))


def _union(arguments: tuple[Any, ...]) -> Kind:
    return OneOf(tuple(map(kind_of, arguments)))


def _literal(arguments: tuple[Any, ...]) -> Kind:
    return Choice(tuple((value, str(value)) for value in arguments))


_QUALIFIERS = (Required, NotRequired)
_GENERIC: dict[Any, Callable[[tuple[Any, ...]], Kind]] = {
    Annotated: _annotated,
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
    list: _list,
    Sequence: _list,
    dict: _dict,
    Mapping: _dict,
}
