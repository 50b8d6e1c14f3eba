"""YAML → data: the YAML 1.2 core without its traps. Needs the extra ``yaml`` (ruamel.yaml).

Plain scalars are null, true, false or a number as JSON writes it; everything else is text: ``on``, ``no``,
``12:30``, ``012``, ``+33``, ``2026-01-02``. Keys are always text. No tags; aliases, while all stays small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)
from ruamel.yaml.reader import ReaderError

MAX_DEPTH = 100
MAX_WEIGHT = 1024 * 1024

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_FRACTION = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_QUOTE = "put {{ … }} in quotes: YAML reads unquoted braces as a mapping"


class YamlTrouble(ValueError):
    """A text that is no YAML, or not of the kind that definitions use; ``line`` and ``column`` from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        self.line = line
        self.column = column
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A value and its size once written out, aliases included."""

    value: Any
    weight: int


def read_yaml(text: str) -> Any:
    """Return the data that ``text`` holds. Raises ``YamlTrouble``."""
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text)).read_document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        hint = f"; {_QUOTE}" if "{{" in _line(text, line) else ""
        raise YamlTrouble(f"{error.problem or error.context}{hint}", line + 1, column + 1) from error
    except ReaderError as error:
        before = text[: error.position]
        column = len(before) - (before.rfind("\n") + 1)
        message = f"the character {text[error.position]!r} is not allowed"
        raise YamlTrouble(message, before.count("\n") + 1, column + 1) from error
    except YAMLError as error:
        raise YamlTrouble(str(error), 1, 1) from error


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""


class _Builder:
    """Builds values from the parser's events, so that each kind of trouble is met where it stands."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events: Iterator[Event] = iter(events)
        self.anchors: dict[str, _Weighed] = {}

    def read_document(self) -> Any:
        value = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    _refuse(event, "a second document begins here; one file holds one definition")
                value = self._read(next(self.events), 1).value
        return value

    def _read(self, event: Event, depth: int) -> _Weighed:
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                _refuse(event, f"*{event.anchor}: no anchor of this name is complete here")
            return self.anchors[event.anchor]
        if not isinstance(event, (ScalarEvent, CollectionStartEvent)):
            _refuse(event, "a value is missing here")
        if event.tag is not None:
            _refuse(event, f"the tag {event.tag} is not allowed: definitions hold plain data")
        if depth > MAX_DEPTH:
            _refuse(event, f"it is nested more than {MAX_DEPTH} deep")
        read = self._read_untagged(event, depth)
        if read.weight > MAX_WEIGHT:
            _refuse(event, f"it is larger than {MAX_WEIGHT:,} characters once its aliases are written out")
        if event.anchor is not None:
            self.anchors[event.anchor] = read
        return read

    def _read_untagged(self, event: ScalarEvent | CollectionStartEvent, depth: int) -> _Weighed:
        if isinstance(event, MappingStartEvent):
            return self._read_mapping(depth)
        if isinstance(event, CollectionStartEvent):
            return self._read_sequence(depth)
        text: str = event.value
        return _Weighed(text if event.style else _read_plain(event, text), len(text) + 1)

    def _read_sequence(self, depth: int) -> _Weighed:
        values: list[Any] = []
        weight = 1
        while not isinstance(event := next(self.events), SequenceEndEvent):
            read = self._read(event, depth + 1)
            values.append(read.value)
            weight = _add(event, weight, read)
        return _Weighed(values, weight)

    def _read_mapping(self, depth: int) -> _Weighed:
        values: dict[str, Any] = {}
        weight = 1
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = _read_key(event)
            if key in values:
                _refuse(event, f"the key {key!r:.80} stands here for the second time")
            read = self._read(next(self.events), depth + 1)
            values[key] = read.value
            weight = _add(event, weight + len(key) + 1, read)
        return _Weighed(values, weight)


def _add(event: Event, weight: int, read: _Weighed) -> int:
    # Checked at every part, or a long list of aliases would be built before its size is known.
    if weight + read.weight > MAX_WEIGHT:
        _refuse(event, f"it is larger than {MAX_WEIGHT:,} characters once its aliases are written out")
    return weight + read.weight


def _read_key(event: Event) -> str:
    if isinstance(event, MappingStartEvent) and event.flow_style:
        _refuse(event, _QUOTE)
    if not isinstance(event, ScalarEvent) or event.tag is not None or event.anchor is not None:
        _refuse(event, "a key is plain text, without tags, anchors or aliases")
    return str(event.value)


def _read_plain(event: Event, text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _WHOLE.fullmatch(text):
            return int(text)
        return float(text) if _FRACTION.fullmatch(text) else text
    except ValueError:
        _refuse(event, "a number with too many digits; put it in quotes if it is text")


def _refuse(event: Event, message: str) -> NoReturn:
    mark = event.start_mark
    raise YamlTrouble(message, mark.line + 1, mark.column + 1)
