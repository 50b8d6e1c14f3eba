"""How the admin writes values down: indented JSON without what must stay hidden, short ids, durations."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timezone import localtime
from django.utils.translation import ngettext

from ..insight.spans import show_time
from ..params.hidden import STARS, hide, is_hidden

# Of a declaration: what it begins with, falls back on, or is one of.
VALUES = ("default", "initial", "choices")
NOTHING = "–"


def hide_literals(spec: Any) -> Any:
    """Return a copy of a definition with stars for what its steps and its input are given under such a key.

    What is an expression, or a name of the definition language, tells no secret.
    """
    declared = {"input": hide_defaults(spec["input"])} if isinstance(spec.get("input"), dict) else {}
    return {**spec, **declared, "steps": [_hide_params(step) for step in spec.get("steps", ())]}


def hide_defaults(declared: Any) -> Any:
    """Return a copy of a declared input with stars for what hidden names begin with or fall back on."""
    if not isinstance(declared, dict):
        return declared  # A draft holds whatever was typed.
    return {
        name: {key: STARS if key in VALUES else item for key, item in about.items()}
        if isinstance(about, dict) and is_hidden(name)
        else hide(about)
        for name, about in declared.items()
    }


def hide_given(params: Any) -> Any:
    """Return a copy of a step's params with stars for what is written under hidden names."""
    return _hide_literal(params, is_within=False)


def hide_step(step: Any) -> Any:
    """Return a copy of a step's definition, or of its undo, with such stars."""
    return _hide_params(step)


def write_json(value: Any) -> str:
    """Return ``value`` as indented JSON that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_json(value: Any, limit: int | None = None) -> str:
    """Return ``value`` as HTML, hidden parts starred, cut at so many characters; a dash for None."""
    return NOTHING if value is None else show_text(write_json(hide(value)), limit)


def show_text(text: str, limit: int | None = None) -> str:
    """Return preformatted ``text`` as HTML, cut at so many characters; a dash for none."""
    if not text:
        return NOTHING
    more = 0 if limit is None else len(text) - limit
    if more > 0:
        left = ngettext("… and %d more character", "… and %d more characters", more) % more
        text = f"{text[:limit]}\n{left}"
    # What may scroll is reached by the keyboard.
    return format_html('<pre tabindex="0">{}</pre>', text)


def show_line(value: Any, limit: int) -> str:
    """Return ``value`` as one line of JSON that the page may wrap, hidden parts starred; a dash for None."""
    text = json.dumps(hide(value), ensure_ascii=False)
    return NOTHING if value is None else format_html("<code>{}</code>", Truncator(text).chars(limit))


def shorten_id(id: UUID) -> str:
    """Return the beginning of a time-ordered id: the millisecond of its row."""
    return str(id)[:13]


def show_moment(at: datetime | None) -> SafeString:
    """Return a time as an element that the script may tell relatively; its title is the time in full."""
    if at is None:
        return SafeString(NOTHING)
    local = localtime(at)
    title = f"{local:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {local:%Z}"
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), title, show_time(at))


def _hide_params(step: Any) -> Any:
    if not isinstance(step, dict):
        return step
    hidden = {"with": hide_given(step["with"])} if isinstance(step.get("with"), dict) else {}
    undo = {"undo": _hide_params(step["undo"])} if step.get("undo") else {}
    return {**step, **hidden, **undo}


def _hide_literal(value: Any, *, is_within: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _hide_literal(item, is_within=is_within or is_hidden(key)) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_hide_literal(item, is_within=is_within) for item in value]
    is_free = value is None or isinstance(value, bool) or (isinstance(value, str) and "{{" in value)
    return STARS if is_within and not is_free else value
