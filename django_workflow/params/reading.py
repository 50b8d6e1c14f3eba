"""How a value is read by its declared type, and what is said when it does not fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.db.models import Model

from ..spelling import MOST_PROBLEMS, cut
from .hidden import hide

FieldOptions = dict[str, Any]
JsonSchema = dict[str, Any]


class Misfit(ValueError):
    """A value does not fit; ``problems`` says why, one text for each place, a hundred at most."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems[:MOST_PROBLEMS]
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """When values are read: at the call, on the alias ``using``; or at publish, when ``using`` is None.

    At publish no row and no secret is fetched, and what ``is_expression`` says yes to is not yet known.
    """

    using: str | None = None
    is_expression: Callable[[Any], bool] = lambda value: False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRow:
    """Where a value names a row of ``model``: by its key, or by what its ``column`` holds."""

    model: type[Model]
    value: Any
    column: str = "pk"


class Kind(ABC):
    """A declared type: it reads values, and describes itself as a form field and a JSON Schema."""

    takes_text: ClassVar[bool] = True
    has_marker: ClassVar[str] = ""

    @property
    def marker(self) -> str:
        """``secret``, ``step`` or ``condition`` for our own annotations, else an empty text."""
        return self.has_marker

    def read(self, value: Any, reading: Reading) -> Any:
        """Return ``value`` as the declared type; at publish what is not yet known is returned as it is.

        Raises ``Misfit``.
        """
        if reading.using is None and not self.is_literal:
            if reading.is_expression(value):
                return value
            if self.takes_text and isinstance(value, str) and "{{" in value:
                return value
        return self.convert(value, reading)

    def look_up(self, name: str) -> Kind | None:
        """Return the kind of what an expression reads under ``name`` of such a value; None where unknown.

        Raises ``LookupError`` with the reason where no such value has the name.
        """
        return None

    def rows(self, value: Any) -> Iterator[NamedRow]:
        """Yield each place in ``value`` that names a row; what stands there may be no key at all."""
        return iter(())

    def secrets(self, value: Any) -> Iterator[str]:
        """Yield each text in ``value`` that stands for a secret: its name where the value is as written, the
        secret itself where it was read."""
        return iter(())

    @property
    def is_literal(self) -> bool:
        """Whether it holds what a definition must name literally, and not by an expression."""
        return False

    @abstractmethod
    def convert(self, value: Any, reading: Reading) -> Any:
        """Return a known ``value`` as the declared type. Raises ``Misfit``."""

    @abstractmethod
    def field(self, options: FieldOptions) -> forms.Field:
        """Return a form field that takes the keyword ``options`` of every field."""

    @abstractmethod
    def schema(self) -> JsonSchema:
        """Return the JSON Schema of the stored form."""


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: its ``repr``, hidden parts starred, cut to 60 characters."""
    return cut(repr(hide(value)), 60)


def collect(parts: Iterable[tuple[str, Callable[[], Any]]]) -> list[Any]:
    """Return what every part reads. Raises one ``Misfit`` with the problems of all, each after its place."""
    values: list[Any] = []
    problems: list[str] = []
    for place, read in parts:
        if len(problems) >= MOST_PROBLEMS:
            break
        try:
            values.append(read())
        except Misfit as misfit:
            problems += [f"{place}{'' if text[:1] == '[' else ': '}{text}" for text in misfit.problems]
    if problems:
        raise Misfit(*problems)
    return values
