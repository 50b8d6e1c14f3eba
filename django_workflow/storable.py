"""Text that every database takes: PostgreSQL refuses NUL and lone surrogates, which SQLite stores."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str, limit: int = 10_000) -> str:
    """Return ``text`` in a form every database takes, cut in the middle to ``limit`` characters.

    Its end is kept the longer: that is where a traceback says what happened.
    """
    if len(text) > limit:
        head = (limit - 1) // 3
        text = f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
    return _UNSTORABLE.sub("\ufffd", text)


def is_storable_text(text: str) -> bool:
    """Say whether every database takes ``text``: PostgreSQL refuses NUL and lone surrogates."""
    return "\0" not in text and (text.isascii() or _UNSTORABLE.search(text) is None)
