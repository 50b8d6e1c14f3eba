"""Definitions as text: YAML or JSON ↔ data, with the line and column of what cannot be read."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from typing import Any, Literal, NoReturn

from ..exceptions import DefinitionError
from .spec import Problem
from .yaml_writing import write_yaml

MAX_CHARACTERS = 1024 * 1024
MISSING = 'reading YAML needs ruamel.yaml: pip install "django-workflow-rq[yaml]"'

Format = Literal["yaml", "json"]


def read_text(text: str, *, format: Format, source: str = "") -> Any:
    """Return the data that ``text`` holds; ``source`` is how errors name it, such as a file's path.

    Raises ``DefinitionError`` with the line and column of what cannot be read.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(source, f"{len(text):,} characters are more than {MAX_CHARACTERS:,}")
    return _read_json(text, source) if format == "json" else _read_yaml(text, source)


def write_text(data: Any, *, format: Format) -> str:
    """Return JSON ``data`` as text that :func:`read_text` reads back, in the data's own order."""
    if format == "json":
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_yaml(data)


def _read_yaml(text: str, source: str) -> Any:
    try:
        # Brought in on first use: ruamel.yaml is an extra, and costs time at start-up.
        reading = import_module(".yaml_reading", __package__)
    except ImportError:
        _refuse(source, MISSING)
    try:
        return reading.read_yaml(text)
    except reading.YamlTrouble as trouble:
        _refuse(source, f"line {trouble.line}, column {trouble.column}: {trouble}", trouble)


def _read_json(text: str, source: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        _refuse(source, f"line {error.lineno}, column {error.colno}: {error.msg}", error)
    except ValueError as error:
        _refuse(source, str(error), error)
    except RecursionError as error:
        _refuse(source, "it is nested too deep", error)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(double, _count)] = Counter(key for key, _value in pairs).most_common(1)
        raise ValueError(f"the key {double!r:.80} stands twice in one object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON knows")


def _refuse(source: str, message: str, cause: Exception | None = None) -> NoReturn:
    raise DefinitionError(source, [Problem(message)]) from cause
