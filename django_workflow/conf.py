"""The settings: one dict, ``DJANGO_WORKFLOW``, read at each access so that ``override_settings`` works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.conf import settings

from .durations import parse_duration

# What Django's exception reporter hides (SafeExceptionReporterFilter.hidden_settings), as parts of a name.
HIDDEN_NAMES = ("api", "auth", "token", "key", "secret", "pass", "signature", "http_cookie")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Durations may be given as ``"60s"``, seconds or ``timedelta``.

    ``QUEUE`` is None where steps run inline. It is so by default without ``RQ_QUEUES``, and for a queue that
    itself is to run its jobs at once (``"ASYNC": False``); else the default is ``"default"``.

    ``ASYNC_TOGETHER``: how many calls of async handlers one worker may have under way at once, in one event
    loop; 1, the default, is one after the other.
    """

    QUEUE: str | None = None
    STEPS_MODULE: str = "steps"
    LEASE: timedelta = timedelta(seconds=60)
    SLICE: timedelta = timedelta(seconds=30)
    TIMEOUT: timedelta | None = timedelta(minutes=10)
    MAX_BYTES: int = 1024 * 1024
    MAX_VISITS: int = 1000
    MAX_CRASHES: int = 3
    HIDDEN_FIELDS: tuple[str, ...] = HIDDEN_NAMES
    SECRETS: dict[str, Any] = field(default_factory=dict)
    BASE_URL: str = ""
    KEEP: timedelta | None = timedelta(days=90)
    POLL: timedelta | None = timedelta(seconds=1)
    ASYNC_TOGETHER: int = 1


NAMES = frozenset(each.name for each in fields(Settings))
_DURATIONS = frozenset({"LEASE", "SLICE", "TIMEOUT", "KEEP", "POLL"})
_EMPTY: dict[str, Any] = {}
_cached: tuple[object, object, Settings] | None = None


def get_settings() -> Settings:
    """Return the settings as they are now.

    What is unknown or of the wrong kind is left at its default here, and named by a system check.
    """
    global _cached
    raw = getattr(settings, "DJANGO_WORKFLOW", None) or _EMPTY
    queues = getattr(settings, "RQ_QUEUES", None) or _EMPTY
    if _cached is not None and _cached[0] == raw and _cached[1] == queues:
        return _cached[2]
    given = dict(_readable(raw if isinstance(raw, Mapping) else _EMPTY))
    queue = given.get("QUEUE", "default" if queues else None)
    found = Settings(**{**given, "QUEUE": _unless_at_once(queue, queues)})
    _cached = (snapshot(raw), snapshot(queues), found)
    return found


def snapshot(value: Any) -> Any:
    """Return a copy of a setting that stays as it is when the setting is changed in place."""
    if isinstance(value, dict):
        return {key: snapshot(part) for key, part in value.items()}
    return [snapshot(part) for part in value] if isinstance(value, list) else value


def _unless_at_once(queue: str | None, queues: Any) -> str | None:
    config = queues.get(queue) if isinstance(queues, Mapping) else None
    return None if isinstance(config, Mapping) and config.get("ASYNC") is False else queue


def _readable(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if name in NAMES:
            try:
                yield name, _convert(name, value)
            except (TypeError, ValueError):
                continue


def _convert(name: str, value: Any) -> Any:
    if name == "QUEUE" and value is not None and not (isinstance(value, str) and value):
        raise TypeError
    if name in _DURATIONS and value is not None:
        return parse_duration(value)
    if name == "ASYNC_TOGETHER" and (type(value) is not int or value < 1):
        raise TypeError
    return tuple(value) if name == "HIDDEN_FIELDS" else value
