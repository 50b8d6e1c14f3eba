"""The keys of ``DJANGO_WORKFLOW`` and the kinds of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from ..conf import NAMES
from ..durations import parse_duration
from ..spelling import closest

OBJECT = "settings.DJANGO_WORKFLOW"


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: an unknown key. E002: a value of the wrong kind."""
    given = getattr(settings, "DJANGO_WORKFLOW", None)
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [_misfit("DJANGO_WORKFLOW", given, "a dict")]
    return [*_unknown_keys(given), *_misfits(given)]


def _unknown_keys(given: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for key in given:
        if key not in NAMES:
            close = closest(str(key).upper(), sorted(NAMES))
            hint = f"Did you mean {close!r}?" if close else f"Known are {', '.join(sorted(NAMES))}."
            yield Error(f"{key!r} is no setting of django_workflow.", hint, OBJECT, "django_workflow.E001")


def _misfits(given: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for key, value in given.items():
        what, is_fit = _KINDS.get(key, ("", _is_anything))
        if not is_fit(value):
            yield _misfit(key, value, what)


def _misfit(key: str, value: object, what: str) -> CheckMessage:
    # A value may be a secret that was put in the wrong place: only its kind is told.
    text = f"{key} is of the type {type(value).__name__}, or out of bounds."
    return Error(text, f"Give {what}.", OBJECT, "django_workflow.E002")


def _is_anything(value: object) -> bool:
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_module(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _is_text_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_duration(value: object) -> bool:
    try:
        return parse_duration(value) > timedelta(0)
    except ValueError:
        return False


def _is_duration_or_none(value: object) -> bool:
    return value is None or _is_duration(value)


def _is_texts(value: object) -> bool:
    is_many = isinstance(value, (list, tuple, set, frozenset))
    return is_many and all(isinstance(each, str) for each in value)  # type: ignore[attr-defined]


def _is_named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


_DURATION = ("a duration over zero: '60s', '10m', a number of seconds or a timedelta", _is_duration)
_MAYBE_DURATION = (f"{_DURATION[0]}, or None", _is_duration_or_none)
_COUNT = ("a whole number over zero", _is_count)
_KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "QUEUE": ("the name of a queue in RQ_QUEUES, or None to run inline", _is_text_or_none),
    "STEPS_MODULE": ("the name of a module, such as 'steps'", _is_module),
    "LEASE": _DURATION,
    "SLICE": _DURATION,
    "TIMEOUT": _MAYBE_DURATION,
    "MAX_BYTES": _COUNT,
    "MAX_VISITS": _COUNT,
    "MAX_CRASHES": _COUNT,
    "HIDDEN_FIELDS": ("a tuple or list of parts of field names", _is_texts),
    "SECRETS": ("a dict of names to values or callables", _is_named),
    "BASE_URL": ("text, such as 'https://shop.example'", _is_text),
    "KEEP": _MAYBE_DURATION,
    "POLL": _MAYBE_DURATION,
    "ASYNC_TOGETHER": _COUNT,
}
