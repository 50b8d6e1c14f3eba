"""What to say of an unknown name: one that is close, or some that are known, at a bounded cost."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

# At most so many things wrong are told at once.
MOST_PROBLEMS = 100
# At most so many get a hint where it is dear: comparing one with a thousand names takes 30 ms.
MOST_HINTS = 20
_MOST_SHOWN = 20
_MOST_COMPARED = 1000
_LONGEST = 100


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that ``name`` is most like; an empty text where none is close."""
    if len(name) > _LONGEST:
        return ""
    names = [each for each in islice(known, _MOST_COMPARED) if len(each) <= _LONGEST]
    return next(iter(get_close_matches(name, names, 1)), "")


def some(names: Iterable[str]) -> str:
    """Return the first names, with commas between, and dots where there are more."""
    first = list(islice(names, _MOST_SHOWN + 1))
    return ", ".join([*first[:_MOST_SHOWN], *(["…"] if len(first) > _MOST_SHOWN else [])])


def cut(text: str, length: int = _LONGEST) -> str:
    """Return ``text``, or its beginning where it is longer than ``length``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
