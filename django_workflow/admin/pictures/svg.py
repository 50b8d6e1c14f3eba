"""SVG elements as safe text: everything is escaped, and numbers look the same in every language."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import east_asian_width

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Point = tuple[float, float]

NOTHING = SafeString("")


def element(name: str, *content: str, **attributes: str | float | None) -> SafeString:
    """Return an element. ``text_anchor`` gives ``text-anchor``, ``class_`` ``class``, None nothing."""
    given = ((key, value) for key, value in attributes.items() if value is not None)
    written = format_html_join(
        "", ' {}="{}"', ((key.rstrip("_").replace("_", "-"), write(value)) for key, value in given)
    )
    return format_html("<{0}{1}>{2}</{0}>", name, written, join(content))


def picture(
    *content: str, width: float, height: float, corner: Point = (0, 0), **attributes: str | float | None
) -> SafeString:
    """Return a whole picture in its natural size, in pixels; ``corner`` is the point at its top left."""
    box = path(*corner, width, height)
    return element("svg", *content, width=width, height=height, viewBox=box, **attributes)


def join(parts: Iterable[str]) -> SafeString:
    """Return the parts as one."""
    return format_html_join("", "{}", ((part,) for part in parts))


def write(value: str | float) -> str:
    """Return a number as SVG has it, to a tenth of a pixel; text as it is."""
    return value if isinstance(value, str) else f"{round(value, 1):g}"


def path(*parts: str | float) -> str:
    """Return the ``d`` of a path: commands and numbers.

    >>> path("M", 1, 2.5, "H", 3)
    'M 1 2.5 H 3'
    """
    return " ".join(map(write, parts))


def cut(text: str, room: int) -> str:
    """Return ``text``, its end replaced by an ellipsis where it is wider than so many letters."""
    if _measure(text) <= room:
        return text
    while text and _measure(text) >= room:
        text = text[:-1]
    return f"{text}…"


def _measure(text: str) -> int:
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)
