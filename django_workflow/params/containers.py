"""Kinds made of other kinds: lists, dicts, alternatives and closed lists of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any

from django import forms

from ..spelling import closest, cut, some
from .reading import FieldOptions, JsonSchema, Kind, Misfit, NamedRow, Reading, collect, shown
from .scalars import Nothing


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    """``list[T]``: every item is read as ``item``."""

    item: Kind
    takes_text = False

    @property
    def is_literal(self) -> bool:
        return self.item.is_literal

    def rows(self, value: Any) -> Iterator[NamedRow]:
        for each in value if isinstance(value, (list, tuple)) else ():
            yield from self.item.rows(each)

    def secrets(self, value: Any) -> Iterator[str]:
        for each in value if isinstance(value, (list, tuple)) else ():
            yield from self.item.secrets(each)

    def convert(self, value: Any, reading: Reading) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Misfit(f"{shown(value)} is no list")
        return collect((f"[{at}]", partial(self.item.read, each, reading)) for at, each in enumerate(value))

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.JSONField(**options)

    def schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.schema()}

    def look_up(self, name: str) -> Kind | None:
        if name.isascii() and name.isdecimal():
            return self.item
        raise LookupError(f"there is no {name!r} in a list; number its items, from 0")


@dataclass(frozen=True, slots=True)
class DictOf(Kind):
    """``dict[str, T]``: every value is read as ``item``."""

    item: Kind
    takes_text = False

    @property
    def is_literal(self) -> bool:
        return self.item.is_literal

    def rows(self, value: Any) -> Iterator[NamedRow]:
        for each in value.values() if isinstance(value, Mapping) else ():
            yield from self.item.rows(each)

    def secrets(self, value: Any) -> Iterator[str]:
        for each in value.values() if isinstance(value, Mapping) else ():
            yield from self.item.secrets(each)

    def convert(self, value: Any, reading: Reading) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Misfit(f"{shown(value)} is no mapping")
        wrong = [shown(key) for key in value if not isinstance(key, str)]
        if wrong:
            raise Misfit(f"keys must be text: {some(wrong)}")
        parts = ((f"[{shown(key)}]", partial(self.item.read, each, reading)) for key, each in value.items())
        return dict(zip(value, collect(parts), strict=True))

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.JSONField(**options)

    def schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": self.item.schema()}

    def look_up(self, name: str) -> Kind | None:
        return self.item


@dataclass(frozen=True, slots=True)
class Keyed(Kind):
    """A ``TypedDict``: the keys that it names, each of a kind of its own."""

    items: Mapping[str, Kind]
    required: frozenset[str] = frozenset()
    takes_text = False

    @property
    def is_literal(self) -> bool:
        return any(kind.is_literal for kind in self.items.values())

    def rows(self, value: Any) -> Iterator[NamedRow]:
        for key, each in value.items() if isinstance(value, Mapping) else ():
            if key in self.items:
                yield from self.items[key].rows(each)

    def secrets(self, value: Any) -> Iterator[str]:
        for key, each in value.items() if isinstance(value, Mapping) else ():
            if key in self.items:
                yield from self.items[key].secrets(each)

    def convert(self, value: Any, reading: Reading) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Misfit(f"{shown(value)} is no mapping")
        problems = [f"[{key!r}] is missing" for key in self.items if key in self.required - value.keys()]
        problems += [f"[{shown(key)}] is unknown; {self._known}" for key in value if key not in self.items]
        if problems:
            raise Misfit(*problems)
        parts = ((f"[{key!r}]", partial(self.items[key].read, each, reading)) for key, each in value.items())
        return dict(zip(value, collect(parts), strict=True))

    def field(self, options: FieldOptions) -> forms.Field:
        return forms.JSONField(**options)

    def schema(self) -> JsonSchema:
        return {
            "type": "object",
            "properties": {key: kind.schema() for key, kind in self.items.items()},
            "required": sorted(self.required),
            "additionalProperties": False,
        }

    def look_up(self, name: str) -> Kind | None:
        if name in self.items:
            return self.items[name]
        close = closest(name, self.items)
        hint = f"did you mean {close!r}?" if close else self._known
        raise LookupError(f"there is no {cut(name)!r}; {hint}")

    @property
    def _known(self) -> str:
        return f"known: {some(self.items) or 'none'}"


@dataclass(frozen=True, slots=True)
class OneOf(Kind):
    """``T | None``, ``A | B``: the first kind that fits; one that leaves the value as it is goes first."""

    kinds: tuple[Kind, ...]
    takes_text = False  # each of the kinds decides for itself

    @property
    def is_literal(self) -> bool:
        return any(kind.is_literal for kind in self.kinds)

    def rows(self, value: Any) -> Iterator[NamedRow]:
        # What another kind leaves as it is names no row: it goes first.
        rows = [(kind, list(kind.rows(value))) for kind in self.kinds]
        if not any(not named and _keeps(kind, value) for kind, named in rows):
            for _kind, named in rows:
                yield from named

    def secrets(self, value: Any) -> Iterator[str]:
        for kind in self.kinds:
            yield from kind.secrets(value)

    @property
    def marker(self) -> str:
        return next((kind.marker for kind in self.kinds if kind.marker), "")

    def convert(self, value: Any, reading: Reading) -> Any:
        if value is None and any(isinstance(kind, Nothing) for kind in self.kinds):
            return None
        found: list[Any] = []
        problems: list[str] = []
        for kind in self._takers(value, reading):
            try:
                found.append(kind.read(value, reading))
            except Misfit as misfit:
                problems += misfit.problems
        if not found:
            raise Misfit(*problems)
        return next((each for each in found if type(each) is type(value)), found[0])

    def _takers(self, value: Any, reading: Reading) -> Iterator[Kind]:
        """Yield the kinds that ``value`` may be of: an expression might give the name of a secret."""
        is_unknown = reading.using is None and (
            reading.is_expression(value) or (isinstance(value, str) and "{{" in value)
        )
        for kind in self._inner:
            if kind.is_literal or not (is_unknown and self.is_literal):
                yield kind

    @property
    def _inner(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self.kinds if not isinstance(kind, Nothing))

    def field(self, options: FieldOptions) -> forms.Field:
        if len(self._inner) < len(self.kinds):
            options = {**options, "required": False}
        return self._inner[0].field(options) if len(self._inner) == 1 else forms.JSONField(**options)

    def schema(self) -> JsonSchema:
        return {"anyOf": [kind.schema() for kind in self.kinds]}

    def look_up(self, name: str) -> Kind | None:
        found, missing = [], None
        for kind in self._inner or self.kinds:
            try:
                found.append(kind.look_up(name))
            except LookupError as error:
                missing = missing or error
        if not found and missing is not None:
            raise missing
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """``Literal`` and declared ``choices``: one of the listed values, ``(value, label)`` each."""

    choices: tuple[tuple[Any, str], ...]

    def convert(self, value: Any, reading: Reading) -> Any:
        for known, _label in self.choices:
            if type(known) is type(value) and known == value:
                return known
        for known, _label in self.choices:
            if isinstance(value, str) and str(known) == value and known is not None:
                return known
        raise Misfit(f"{shown(value)} is none of {some(shown(known) for known, _label in self.choices)}")

    def field(self, options: FieldOptions) -> forms.Field:
        blank = [] if options.get("required") else [("", "---------")]
        return forms.TypedChoiceField(
            choices=[*blank, *((str(value), label) for value, label in self.choices)],
            coerce=lambda text: next(value for value, _label in self.choices if str(value) == text),
            empty_value=None,
            **options,
        )

    def look_up(self, name: str) -> Kind | None:
        if any(isinstance(value, (list, dict)) for value, _label in self.choices):
            return None
        raise LookupError(f"there is no {name!r} in a single value, which is one of several choices")

    def schema(self) -> JsonSchema:
        plain = (str, int, float, NoneType)
        return {"enum": [value if isinstance(value, plain) else str(value) for value, _label in self.choices]}


@dataclass(frozen=True, slots=True)
class Member(Kind):
    """An ``Enum``: its members, or their values."""

    enum: type[Enum]

    def convert(self, value: Any, reading: Reading) -> Enum:
        if isinstance(value, self.enum):
            return value
        plain = value.value if isinstance(value, Enum) else value
        stored = self._choices().convert(plain, reading)
        return next(member for member in self.enum if member.value == stored)

    def field(self, options: FieldOptions) -> forms.Field:
        return self._choices().field(options)

    def schema(self) -> JsonSchema:
        return self._choices().schema()

    def _choices(self) -> Choice:
        labelled = ((member.value, getattr(member, "label", member.name)) for member in self.enum)
        return Choice(tuple((value, str(label)) for value, label in labelled))


def _keeps(kind: Kind, value: Any) -> bool:
    try:
        return type(kind.read(value, Reading())) is type(value)
    except Misfit:
        return False
