"""The queues that settings and step types name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from ..registry import all_handlers


def check_queues(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E003: a queue that is not in ``RQ_QUEUES``. Where steps run inline no queue is used."""
    known = getattr(settings, "RQ_QUEUES", None) or {}
    return [
        Error(
            f"The queue {queue!r} is not in RQ_QUEUES.",
            _hint(queue, sorted(known)),
            obj,
            "django_workflow.E003",
        )
        for queue, obj in _named()
        if queue not in known
    ]


def given_queue() -> object:
    """Return the setting ``QUEUE`` as it was given; None where steps run inline."""
    given = getattr(settings, "DJANGO_WORKFLOW", None)
    return given.get("QUEUE") if isinstance(given, Mapping) else None


def _named() -> Iterator[tuple[str, str]]:
    queue = given_queue()
    if isinstance(queue, str):
        yield queue, "settings.DJANGO_WORKFLOW['QUEUE']"
        for handler in all_handlers():
            if handler.queue is not None:
                yield handler.queue, f"step type {handler.type}"


def _hint(queue: str, known: list[str]) -> str:
    close = get_close_matches(queue, known, 1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Add it to RQ_QUEUES, or name one of these: {', '.join(known) or 'none'}."
