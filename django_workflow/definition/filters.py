"""The filters of expressions: Django's own where they are safe on hostile values, stricter ones where not.

Each is called as ``function(value, *arguments, limit=bytes)``, with values of known kinds, numbers of modest
size, and model references only where :data:`ON_REFERENCES` says so. What it raises is made
an ``ExpressionError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import wraps
from typing import Any

from django.template import defaultfilters as django
from django.utils import dateformat, timezone, translation
from django.utils.html import escape

from .values import Kind, as_text, describe, is_true, kind_of, text_size

Filter = Callable[..., Any]

_MAX_FORMAT = 200  # a date format of a megabyte would give thirty
_MAX_PLACES = 50
_SPECIFIER = re.compile(r"[-+ 0#]*\d{0,3}(\.\d{1,3})?[sdifeEgGxXo]", re.ASCII)


def _on_text(function: Filter) -> Filter:
    """Give ``function`` its value as text, in no language: ``truncatechars`` translates its dots."""

    @wraps(function)
    def call(value: Any, *arguments: Any, limit: int) -> Any:
        with translation.override(None):
            return function(as_text(value, limit), *arguments)

    return call


def _unescaped(function: Filter) -> Filter:
    # Without @wraps: the parser would take the parameter ``autoescape`` for an argument of the filter.
    def call(value: Any, *, limit: int) -> Any:
        return function(as_text(value, limit), autoescape=False)

    return call


def _sequence(value: Any) -> Any:
    if kind_of(value) not in (Kind.TEXT, Kind.LIST):
        raise ValueError(f"needs text or a list, not {describe(value)}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"needs whole numbers, not {describe(value)}")
    return value


def _format(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_FORMAT:
        raise ValueError(f"needs a format of at most {_MAX_FORMAT} characters, such as 'Y-m-d H:i'")
    return value


def _date(value: Any, argument: Any, *, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, date):
        raise ValueError(f"needs a date, not {describe(value)}")
    with translation.override(None):
        return dateformat.format(value, _format(argument))


def _time(value: Any, argument: Any, *, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, (datetime, time)):
        raise ValueError(f"needs a time, not {describe(value)}")
    with translation.override(None):
        return dateformat.time_format(value, _format(argument))


def _divisibleby(value: Any, argument: Any, *, limit: int) -> bool:
    return _whole(value) % _whole(argument) == 0


def _first(value: Any, *, limit: int) -> Any:
    return next(iter(_sequence(value)), "")


def _floatformat(value: Any, argument: Any = -1, *, limit: int) -> str:
    """Round half up, as Django does; a negative argument leaves ``.00`` away. Never localised."""
    places = int(argument.removesuffix("u") if isinstance(argument, str) else _whole(argument))
    if abs(places) > _MAX_PLACES:
        raise ValueError(f"gives at most {_MAX_PLACES} places")
    number = Decimal(as_text(value, limit))
    if places <= 0 and number == number.to_integral_value():
        places = 0
    precise = Context(prec=max(number.adjusted(), 0) + _MAX_PLACES + 2)
    rounded = number.quantize(Decimal(1).scaleb(-abs(places)), ROUND_HALF_UP, precise)
    return f"{rounded if rounded else abs(rounded):f}"


def _join(value: Any, separator: Any, *, limit: int) -> str:
    if kind_of(value) is not Kind.LIST or not isinstance(separator, str):
        raise ValueError(f"joins a list with a text, not {describe(value)} with {describe(separator)}")
    texts, size = [], text_size(separator) * (len(value) - 1)
    for item in value:
        texts.append(as_text(item, limit))
        size += text_size(texts[-1])
        if size > limit:
            raise ValueError(f"the result is larger than {limit:,} bytes")
    return separator.join(texts)


def _last(value: Any, *, limit: int) -> Any:
    items = _sequence(value)
    return items[-1] if items else ""


def _length(value: Any, *, limit: int) -> int:
    return len(value if kind_of(value) is Kind.MAPPING else _sequence(value))


def _make_list(value: Any, *, limit: int) -> list[str]:
    return list(as_text(value, limit))


def _pluralize(value: Any, argument: str = "s", *, limit: int) -> str:
    return django.pluralize(value, argument)


def _slice(value: Any, argument: Any, *, limit: int) -> Any:
    bounds = [int(part) if part else None for part in as_text(argument, limit).split(":")]
    return _sequence(value)[slice(*bounds)]


def _stringformat(value: Any, argument: Any, *, limit: int) -> str:
    if not isinstance(argument, str) or not _SPECIFIER.fullmatch(argument):
        raise ValueError("takes a format such as '05d' or '.2f', of a width up to 999")
    return f"%{argument}" % (value if kind_of(value) is Kind.NUMBER else as_text(value, limit))


def _yesno(value: Any, choices: Any = "yes,no,maybe", *, limit: int) -> str:
    words = choices.split(",") if isinstance(choices, str) else []
    if len(words) not in (2, 3):
        raise ValueError("takes two or three words, such as 'yes,no,maybe'")
    if value is None:
        return str(words[-1])
    return str(words[0] if is_true(value) else words[1])


FILTERS: dict[str, Filter] = {
    "addslashes": _on_text(django.addslashes),
    "capfirst": _on_text(django.capfirst),
    "cut": _on_text(django.cut),
    "date": _date,
    "default": django.default,  # evaluated by the expression itself, which knows what is missing
    "default_if_none": django.default_if_none,  # the same
    "divisibleby": _divisibleby,
    "escape": _on_text(escape),
    "escapejs": _on_text(django.escapejs_filter),
    "first": _first,
    "floatformat": _floatformat,
    "force_escape": _on_text(escape),
    "iriencode": _on_text(django.iriencode),
    "join": _join,
    "last": _last,
    "length": _length,
    "linebreaks": _unescaped(django.linebreaks_filter),
    "linebreaksbr": _unescaped(django.linebreaksbr),
    "linenumbers": _unescaped(django.linenumbers),
    "lower": _on_text(django.lower),
    "make_list": _make_list,
    "phone2numeric": _on_text(django.phone2numeric_filter),
    "pluralize": _pluralize,
    "slice": _slice,
    "slugify": _on_text(django.slugify),
    "stringformat": _stringformat,
    "time": _time,
    "title": _on_text(django.title),
    "truncatechars": _on_text(django.truncatechars),
    "truncatewords": _on_text(django.truncatewords),
    "upper": _on_text(django.upper),
    "urlencode": _on_text(django.urlencode),
    "wordcount": _on_text(django.wordcount),
    "wordwrap": _on_text(django.wordwrap),
    "yesno": _yesno,
}
ON_REFERENCES = frozenset({"default", "default_if_none", "yesno"})
LOCAL_TIME = frozenset({"date", "time"})  # as Django's ``expects_localtime``

_NO_ESCAPE = "nothing is escaped unless asked, so there is nothing to mark as safe"
_WIDTH = "its width has no bound"
_HTML = "it reads HTML or links, slowly on hostile text; use a Django template for that"
_ATTRIBUTES = "it reads Python attributes"
_CLOCK = "it reads the clock: each attempt would give another text"

LEFT_OUT: dict[str, str] = {
    "add": "it cuts decimals; compute in a step's handler",
    "center": _WIDTH,
    "dictsort": _ATTRIBUTES,
    "dictsortreversed": _ATTRIBUTES,
    "escapeseq": "it reads Python attributes of the items; escape each where it is used",
    "filesizeformat": "it is localised",
    "get_digit": "it cuts decimals and fails silently",
    "json_script": "it writes a script tag; a dict or list within a text is JSON already",
    "ljust": _WIDTH,
    "pprint": "it shows Python's own view of a value",
    "random": "each attempt would give another value",
    "rjust": _WIDTH,
    "safe": _NO_ESCAPE,
    "safeseq": _NO_ESCAPE,
    "striptags": _HTML,
    "timesince": _CLOCK,
    "timeuntil": _CLOCK,
    "truncatechars_html": _HTML,
    "truncatewords_html": _HTML,
    "unordered_list": _HTML,
    "urlize": _HTML,
    "urlizetrunc": _HTML,
}


def to_local_time(name: str, value: Any) -> Any:
    """Return ``value`` as filter ``name`` expects it: for ``date``, in the current time zone."""
    is_aware = isinstance(value, datetime) and timezone.is_aware(value)
    return timezone.localtime(value) if is_aware and name in LOCAL_TIME else value
