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

from ..conf import get_settings
from ..insight.spans import show_time

HIDDEN = "********"
NOTHING = "–"


def hide(value: Any) -> Any:
    """Return a copy of JSON ``value`` with stars under each key that holds a name of ``HIDDEN_FIELDS``."""
    return _hide(value, [name.lower() for name in get_settings().HIDDEN_FIELDS])


def hide_literals(spec: Any) -> Any:
    """Return a copy of a definition with stars for what its steps are given under such a key.

    What is an expression, or a name of the definition language, tells no secret.
    """
    names = [name.lower() for name in get_settings().HIDDEN_FIELDS]
    return {**spec, "steps": [_hide_params(step, names) for step in spec.get("steps", ())]}


def hide_step(step: Any) -> Any:
    """Return a copy of a step's definition, or of its undo, with such stars."""
    return _hide_params(step, [name.lower() for name in get_settings().HIDDEN_FIELDS])


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


def _hide_params(step: Any, names: list[str]) -> Any:
    if not isinstance(step, dict):
        return step
    hidden = {
        key: {name: _hide_literal(name, value, names) for name, value in params.items()}
        for key, params in step.items()
        if key == "with" and isinstance(params, dict)
    }
    undo = {"undo": _hide_params(step["undo"], names)} if step.get("undo") else {}
    return {**step, **hidden, **undo}


def _hide_literal(key: str, value: Any, names: list[str]) -> Any:
    if isinstance(value, str):
        return HIDDEN if _is_hidden(key, names) and "{{" not in value else value
    return _hide(value, names)


def _hide(value: Any, names: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: HIDDEN if _is_hidden(key, names) else _hide(item, names) for key, item in value.items()}
    return [_hide(item, names) for item in value] if isinstance(value, list) else value


def _is_hidden(key: str, names: list[str]) -> bool:
    return any(name in key.lower() for name in names)
