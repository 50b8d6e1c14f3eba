"""Data → YAML as a person writes it: blocks, short leaves on one line, quotes where a reader could err."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

WIDTH = 100
LONGEST_KEY = 500

# Plain only where YAML 1.1 and 1.2 agree that it is text. Numbers, dates and times begin with a digit.
_PLAIN = re.compile(r"[^\W\d](?:[\w ./@()<>=+*|!'%;^$?-]*[\w./@()<>=+*|!'%;^$?-])?")
_PLAIN_DURATION = re.compile(r"[1-9][0-9]*[smhdw]", re.ASCII)
_OTHER_MEANING = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)
_TEXT_BLOCK = re.compile(r"(?! )(?:[^\n]*[^\n ])?(?:\n+[^\n]*[^\n ])*\n?")
_UNPRINTABLE = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_ESCAPED = re.compile(rf'["\\\n]|{_UNPRINTABLE.pattern}')


def write_yaml(data: Any) -> str:
    """Return JSON ``data`` as YAML, ending in a line break; mappings keep their order."""
    return "\n".join(_write(data, 0)) + "\n"


def _write(value: Any, indent: int) -> list[str]:
    # The lines of a value that stands alone; its first line is for the caller to put behind a key or a dash.
    if isinstance(value, Mapping) and value:
        return [line for key, each in value.items() for line in _write_pair(key, each, indent)]
    if isinstance(value, (list, tuple)) and value:
        return [line for each in value for line in _write_item(each, indent)]
    return [" " * indent + _one_line(value)]


def _write_pair(key: str, value: Any, indent: int) -> list[str]:
    name = f"{' ' * indent}{_text(key)}:"
    if len(name) > LONGEST_KEY:
        return [f"{' ' * indent}? {_text(key)}", *_behind(f"{' ' * indent}:", value, indent)]
    return _behind(name, value, indent)


def _behind(name: str, value: Any, indent: int) -> list[str]:
    if isinstance(value, str) and _fits_text_block(value):
        mark = "|" if value.endswith("\n") else "|-"
        lines = value.removesuffix("\n").split("\n")
        return [f"{name} {mark}", *(" " * (indent + 2) + line if line else "" for line in lines)]
    if _is_short(value, len(name)):
        return [f"{name} {_one_line(value)}"]
    return [name, *_write(value, indent + 2)]


def _write_item(value: Any, indent: int) -> list[str]:
    start = f"{' ' * indent}-"
    if not isinstance(value, Mapping) or _is_short(value, len(start)):
        return _behind(start, value, indent)
    lines = _write(value, indent + 2)
    return [f"{start} {lines[0][indent + 2 :]}", *lines[1:]]


def _fits_text_block(value: str) -> bool:
    return "\n" in value[:-1] and bool(_TEXT_BLOCK.fullmatch(value)) and not _UNPRINTABLE.search(value)


def _is_short(value: Any, before: int) -> bool:
    if not isinstance(value, (Mapping, list, tuple)) or not value:
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    if any(isinstance(each, (Mapping, list, tuple)) and each for each in inner):
        return False
    keys = value if isinstance(value, Mapping) else ()
    return before + len(_one_line(value)) < WIDTH and all(len(key) < WIDTH for key in keys)


def _one_line(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_one_line(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_one_line, value))}]"
    return json.dumps(value, allow_nan=False)


def _text(value: str) -> str:
    if _PLAIN_DURATION.fullmatch(value) or _is_plain(value):
        return value
    if '"' in value and not re.search(r"['\\\n]", value) and not _UNPRINTABLE.search(value):
        return f"'{value}'"
    return f'"{_ESCAPED.sub(_escape, value)}"'


def _is_plain(value: str) -> bool:
    return bool(_PLAIN.fullmatch(value)) and not (
        _OTHER_MEANING.fullmatch(value) or _UNPRINTABLE.search(value)
    )


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    named: Mapping[str, str] = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    code = ord(character)
    return named.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
