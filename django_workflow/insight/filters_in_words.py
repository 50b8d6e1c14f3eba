"""Filters of runs, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.utils.text import get_text_list
from django.utils.translation import gettext as _

from ..engine.run_filters import RunFilters
from ..status import RunStatus
from .spans import show_time


def describe_filters(filters: RunFilters) -> list[str]:
    """Return what the runs have in common, a translated phrase for each filter; none for all runs."""
    phrases = [_state(filters)]
    for name, describe in _PHRASES.items():
        value = getattr(filters, name)
        if value:
            phrases.append(describe(value))
    return [phrase for phrase in phrases if phrase]


def _state(filters: RunFilters) -> str:
    if filters.is_unresolved and set(filters.status) <= {RunStatus.FAILED}:
        return _("failed and unresolved")
    if filters.has_failed_steps:
        return _("done, though steps failed")
    words = _either(filters.status)
    return _("%s, and unresolved") % words if filters.is_unresolved else words


def _either(statuses: Iterable[str]) -> str:
    """Return the words of the statuses, in the order in which runs come to them."""
    asked = set(statuses)
    return get_text_list([str(status.label) for status in RunStatus if status in asked], _("or"))


def _about(subject: str) -> str:
    label, _colon, key = subject.partition(":")
    with suppress(LookupError, ValueError):
        label = str(apps.get_model(label)._meta.verbose_name)
    return _("about %(model)s %(key)s") % {"model": label, "key": key}


_PHRASES: Mapping[str, Callable[[Any], str]] = {
    "workflow": lambda name: _("workflow %s") % name,
    "error": lambda name: _("error %s") % name,
    "stopped_at": lambda step: _("stopped at %s") % step,
    "step": lambda step: _("at the step %s") % step,
    "key": lambda key: _("key %s") % key,
    "search": lambda text: _("id, key or subject: %s") % text,
    "about": _about,
    "created_after": lambda at: _("triggered after %s") % show_time(at),
    "created_before": lambda at: _("triggered before %s") % show_time(at),
    "finished_after": lambda at: _("ended after %s") % show_time(at),
}
