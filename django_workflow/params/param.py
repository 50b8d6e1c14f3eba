"""One declared param, and the set of them that a handler or a workflow's input has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from django import forms
from django.utils.html import escape
from django.utils.text import capfirst

from ..codec import load
from ..exceptions import DeletedReference, ParamsError
from ..spelling import MOST_PROBLEMS, closest, cut, some
from .hidden import without_hidden
from .reading import JsonSchema, Kind, Misfit, NamedRow, Reading

Problems = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A param: ``name`` as definitions write it, ``python_name`` as the handler does (``if`` and ``if_``)."""

    name: str
    python_name: str
    kind: Kind
    required: bool = True
    default: Any = None
    fills: bool = False
    """Whether ``default`` is read like a value and given; else Python's own default applies at the call."""
    help: str = ""
    initial: Any = None

    @property
    def marker(self) -> str:
        """``secret``, ``step`` or ``condition`` when it is annotated so, else an empty text."""
        return self.kind.marker

    def field(self) -> forms.Field:
        """Return the form field."""
        return self.kind.field(
            {
                "required": self.required,
                "label": capfirst(self.name.replace("_", " ")),
                # Django shows a help text as HTML, and this one may be anybody's.
                "help_text": escape(self.help),
                "initial": self.default if self.initial is None else self.initial,
            }
        )

    def schema(self) -> JsonSchema:
        """Return the JSON Schema of its value."""
        schema = self.kind.schema()
        if self.help:
            schema["description"] = self.help
        if self.default is not None:
            schema["default"] = json.loads(json.dumps(self.default, default=str))
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """All params of a handler, or a run's declared input. ``extra``: takes other keys too (``**params``)."""

    items: tuple[Param, ...] = ()
    extra: bool = False
    taken: frozenset[str] = frozenset()
    """Names that ``extra`` must not use, for the handler's own parameters have them."""
    by_name: Mapping[str, Param] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {param.name: param for param in self.items})

    def __iter__(self) -> Iterator[Param]:
        return iter(self.items)

    def check(self, values: Mapping[str, Any], *, is_expression: Callable[[Any], bool]) -> Problems:
        """Return what is wrong with ``values`` at publish, by name: unknown, missing, or not of the type.

        What ``is_expression`` says yes to is not known yet and passes. Nothing is read from the database.
        """
        problems = self.misnamed(values)
        self._read(values, Reading(is_expression=is_expression), problems)
        return problems

    def convert(self, values: Mapping[str, Any], *, what: str, using: str) -> dict[str, Any]:
        """Return ``values`` as the types say, by Python name; rows are fetched from the alias ``using``.

        Raises ``ParamsError`` about ``what``, with everything that is wrong.
        """
        problems = self.misnamed(values)
        read = self._read(values, Reading(using=using), problems)
        if problems:
            raise ParamsError(what, problems)
        return read

    def rows(self, values: Mapping[str, Any]) -> Iterator[tuple[str, NamedRow]]:
        """Yield the param and each place in its value that names a row."""
        for param in self.items:
            for row in param.kind.rows(values.get(param.name)):
                yield param.name, row

    def fields(self) -> dict[str, forms.Field]:
        """Return a form field for each param, by name."""
        return {param.name: param.field() for param in self.items}

    def form_class(self) -> type[forms.Form]:
        """Return a form of :meth:`fields`."""
        return type("ParamsForm", (forms.Form,), self.fields())

    def schema(self) -> JsonSchema:
        """Return a JSON Schema of the whole object."""
        return {
            "type": "object",
            "properties": {param.name: param.schema() for param in self.items},
            "required": [param.name for param in self.items if param.required],
            "additionalProperties": self.extra,
        }

    def misnamed(self, values: Mapping[str, Any]) -> Problems:
        """Return the names in ``values`` that are unknown, a hundred at most, and those that are missing."""
        problems: Problems = {}
        unknown = (name for name in values if name not in self.by_name)
        for name in islice((name for name in unknown if not self.extra or name in self.taken), MOST_PROBLEMS):
            problems[cut(str(name))] = [self._why_unknown(str(name))]
        for param in self.items:
            if param.required and param.name not in values:
                problems[param.name] = ["is required"]
        return problems

    def _why_unknown(self, name: str) -> str:
        if name in self.taken:
            return "is unknown: the handler uses this name itself"
        near = closest(name, self.by_name)
        if near:
            return f"is unknown; did you mean {near!r}?"
        return f"is unknown; known: {some(self.by_name) or 'none'}"

    def _read(self, values: Mapping[str, Any], reading: Reading, problems: Problems) -> dict[str, Any]:
        read = {}
        for name, python_name, reader in self._readers(values, reading):
            try:
                read[python_name] = reader()
            except Misfit as misfit:
                given = values[name] if name in values else self.by_name[name].default
                problems.setdefault(name, []).extend(without_hidden(name, given, misfit.problems))
            except DeletedReference as error:
                problems.setdefault(name, []).append(str(error))
        return read

    def _readers(
        self, values: Mapping[str, Any], reading: Reading
    ) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        for param in self.items:
            if param.name in values:
                yield param.name, param.python_name, partial(param.kind.read, values[param.name], reading)
            elif param.fills and not param.required:
                yield param.name, param.python_name, partial(_default, param, reading)
        if self.extra:
            for name in values.keys() - self.by_name.keys() - self.taken:
                yield name, name, partial(_extra, values[name], reading)


def _default(param: Param, reading: Reading) -> Any:
    return None if param.default is None else param.kind.read(param.default, reading)


def _extra(value: Any, reading: Reading) -> Any:
    return value if reading.using is None else load(value)
