"""Values that no page, error or log line shows: those under a key that holds a name of ``HIDDEN_FIELDS``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..conf import get_settings

STARS = "********"
# What is shorter stands in too many words, and is no secret.
SHORTEST = 4
# A message may cut a value: what is left of it is known by so many characters.
KNOWN_BY = 12
# What stands where a text was cut: it goes on behind that where its middle was left out.
CUT = "…"


def is_hidden(name: str) -> bool:
    """Say whether what stands under ``name`` is hidden."""
    lowered = name.lower()
    return any(part.lower() in lowered for part in get_settings().HIDDEN_FIELDS)


def hide(value: Any) -> Any:
    """Return a copy of JSON ``value`` with stars under each hidden key."""
    if isinstance(value, dict):
        return {key: STARS if is_hidden(str(key)) else hide(item) for key, item in value.items()}
    return [hide(item) for item in value] if isinstance(value, list) else value


def hidden_texts(value: Any, *, kinds: tuple[type, ...] = (str,), is_within: bool = False) -> Iterator[str]:
    """Yield what is of ``kinds`` under the hidden keys of ``value``; all of it where it is within such a key.

    Another thread may write to ``value`` meanwhile.
    """
    if isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield from hidden_texts(item, kinds=kinds, is_within=is_within or is_hidden(str(key)))
    elif isinstance(value, (list, tuple)):
        for item in tuple(value):
            yield from hidden_texts(item, kinds=kinds, is_within=is_within)
    elif is_within and isinstance(value, kinds):
        yield str(value)


def forms_of(texts: Iterable[str]) -> list[str]:
    """Return ``texts``, and how they stand in a ``repr`` or in JSON, the longest first."""
    found = set(texts)
    for text in tuple(found):
        quoted = (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
        found |= {form[1:-1] for form in quoted}
    return sorted((form for form in found if len(form) >= SHORTEST), key=len, reverse=True)


def star(text: str, forms: Sequence[str]) -> str:
    """Return ``text`` with stars for each of ``forms``, and for what is left of one that was cut."""
    for form in forms:
        text = _star_beginnings(text, form)
        if CUT in text:
            text = _star_endings(text, form)
    return text


def without_hidden(name: str, value: Any, problems: Iterable[str]) -> list[str]:
    """Return what is said to be wrong with ``value``, the param ``name``, without what of it is hidden."""
    if not is_hidden(name):
        forms = forms_of(hidden_texts(value, kinds=(str, int, float)))
        return [star(text, forms) for text in problems]
    if isinstance(value, (Mapping, list, tuple)):
        return ["does not fit"]
    # Between quotes a value is told from a word, however short it is.
    forms = [*forms_of([str(value)]), repr(value)]
    return [star(text, forms) for text in problems]


def _star_beginnings(text: str, form: str) -> str:
    beginning, at = form[:KNOWN_BY], 0
    while (at := text.find(beginning, at)) >= 0:
        size = len(beginning)
        while size < len(form) and text[at + size : at + size + 1] == form[size]:
            size += 1
        text = f"{text[:at]}{STARS}{text[at + size :]}"
        at += len(STARS)
    return text


def _star_endings(text: str, form: str) -> str:
    ending, at = form[-KNOWN_BY:], 0
    while (at := text.find(ending, at)) >= 0:
        end, size = at + len(ending), len(ending)
        while size < len(form) and text[end - size - 1 : end - size] == form[-size - 1]:
            size += 1
        if text[: end - size].endswith(CUT):
            text = f"{text[: end - size]}{STARS}{text[end:]}"
            end += len(STARS) - size
        at = end
    return text
