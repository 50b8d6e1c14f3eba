"""The queues that settings, step types and shipped files name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from ..conf import get_settings
from ..engine.files import read_shipped_files
from ..registry import all_handlers
from ..spelling import closest, some


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


def check_workers(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W006: steps run on a queue, and ``manage.py`` has no command for its workers."""
    if given_queue() is None or apps.is_installed("django_rq"):
        return []
    return [
        Warning(
            "Steps run on a queue, and django_rq is not installed: there is no `manage.py rqworker`.",
            "Add 'django_rq' to INSTALLED_APPS, or set QUEUE to None.",
            "settings.INSTALLED_APPS",
            "django_workflow.W006",
        )
    ]


def given_queue() -> str | None:
    """Return the queue of steps that name none; None where steps run inline."""
    return get_settings().QUEUE


def _named() -> Iterator[tuple[str, str]]:
    queue = given_queue()
    if queue is None:
        return
    yield queue, "settings.DJANGO_WORKFLOW['QUEUE']"
    for handler in all_handlers():
        if handler.queue is not None:
            yield handler.queue, f"step type {handler.type}"
    for file in read_shipped_files():
        yield from ((each, file.source) for each in dict.fromkeys(_queues_of(file.data)))


def _queues_of(definition: Mapping[str, Any]) -> Iterator[str]:
    steps = definition.get("steps")
    for part in (definition, *(steps if isinstance(steps, list) else ())):
        queue = part.get("queue") if isinstance(part, Mapping) else None
        if isinstance(queue, str):
            yield queue


def _hint(queue: str, known: list[str]) -> str:
    close = closest(queue, known)
    if close:
        return f"Did you mean {close!r}?"
    return f"Add it to RQ_QUEUES, or name one of these: {some(known) or 'none'}."
