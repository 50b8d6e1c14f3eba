"""How far a bulk action is, in words: for its page and for the list of all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Exists
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..conf import get_settings
from ..engine.bulk import count_failed
from ..engine.bulk_verbs import BULK_VERBS
from ..engine.run_filters import read_filters
from ..insight.filters_in_words import describe_filters
from ..models import BulkAction, Clock, Run
from .allowed import is_allowed
from .links import row_url
from .pictures.marks import draw_badge
from .read_only import can_see
from .showing import show_json
from .step_runs import SEE_PAYLOAD
from .verbs import BY_NAME

# An error that is no answer of the engine's own is stored behind the name of its class.
NAMED = re.compile(r"([\w.<>]+): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A run that the verb was refused for, where its page is, and why."""

    run: str
    url: str
    reason: str


class BulkPage:
    """What the template of one bulk action reads, which was read with :func:`marks`."""

    def __init__(self, request: HttpRequest, page: admin.ModelAdmin[Any], bulk: BulkAction) -> None:
        self.request = request
        self.page = page
        self.bulk = bulk
        self.sees_payload = is_allowed(request, SEE_PAYLOAD)

    @property
    def facts(self) -> list[str]:
        """What the runs have in common."""
        return describe(self.bulk)

    @property
    def arguments(self) -> str:
        """What the verb was given, for who may see it."""
        return show_json(self.bulk.arguments) if self.bulk.arguments and self.sees_payload else ""

    @property
    def state(self) -> SafeString:
        """Whether it is over, as a badge."""
        return show_state(self.bulk)

    @property
    def progress(self) -> str:
        """How many runs it came to, of how many."""
        return show_progress(self.bulk)

    @property
    def ended(self) -> int:
        """How many runs it came to; others may have come in between."""
        bulk = self.bulk
        return bulk.total if bulk.finished_at else min(bulk.done + bulk.refused, bulk.total)

    @property
    def passed_by(self) -> int:
        """How many runs had changed by themselves before it came to them."""
        bulk = self.bulk
        return max(bulk.total - bulk.done - bulk.refused, 0) if bulk.finished_at else 0

    @property
    def failed(self) -> int:
        """How many runs have failed since, though it was to bring them on."""
        return count_failed(self.bulk._state.db or "default", self.bulk)

    @property
    def refusals(self) -> Sequence[Refusal]:
        """The first runs that refused, with the reason; an error's text only for who may see payloads."""
        site = self.page.admin_site
        sees_runs = can_see(site, Run, self.request)
        return [
            Refusal(
                run=run_id,
                url=row_url(site, Run(pk=UUID(run_id))) if sees_runs else "",
                reason=text if self.sees_payload else _without_values(text),
            )
            for run_id, text in self.bulk.refusals.items()
        ]

    @property
    def waits_for_a_clock(self) -> bool:
        """Whether nobody goes on with it: steps run inline, and no clock ticks."""
        return self.bulk.finished_at is None and is_inline() and not vars(self.bulk)["is_ticking"]

    @property
    def go_on_url(self) -> str:
        """Where the user may go on with it by hand; empty where that is not needed, or not theirs."""
        return self.url("go_on") if self.waits_for_a_clock and may_go_on(self.request, self.bulk) else ""

    def url(self, name: str) -> str:
        """Return the address of one of its pages."""
        return row_url(self.page.admin_site, self.bulk, name)


def name_verb(verb: str) -> str:
    """Return a verb by its name, as its button says it."""
    return str(BY_NAME[verb].label) if verb in BY_NAME else verb


def show_title(verb: str, count: int, *, shown: str = "") -> str:
    """Return the verb, which is given by its name, and how many runs it is for, or what is shown of that."""
    text = ngettext("%(verb)s: %(count)s run", "%(verb)s: %(count)s runs", count)
    return text % {"verb": name_verb(verb), "count": shown or number_format(count, force_grouping=True)}


def describe(bulk: BulkAction) -> list[str]:
    """Return what the runs of a bulk action have in common; of a later release's, as it is stored."""
    try:
        return describe_filters(read_filters(bulk.filters))
    except (TypeError, ValueError):
        return [json.dumps(bulk.filters)]


def show_progress(bulk: BulkAction) -> str:
    """Return how many runs it came to, of how many: ``120 of 10,000``."""
    counts = {"ended": min(bulk.done + bulk.refused, bulk.total), "total": bulk.total}
    shown = {name: number_format(count, force_grouping=True) for name, count in counts.items()}
    return _("%(ended)s of %(total)s") % shown


def show_state(bulk: BulkAction) -> SafeString:
    """Return whether it is over, as a badge."""
    if bulk.finished_at is not None:
        return draw_badge("done", _("finished"))
    return (
        draw_badge("pending", _("not begun")) if bulk.last is None else draw_badge("running", _("under way"))
    )


def marks() -> Mapping[str, Exists]:
    """Return what is read with the row to know whether its page would say something else."""
    return {"is_ticking": Exists(Clock.objects.alive(timezone.now()))}


def is_inline() -> bool:
    """Return whether there are no workers."""
    return get_settings().QUEUE is None


def may_go_on(request: HttpRequest, bulk: BulkAction) -> bool:
    """Return whether the user may do its verb."""
    verb = BULK_VERBS.get(bulk.verb)
    return verb is not None and is_allowed(request, verb.permission)


def _without_values(text: str) -> str:
    named = NAMED.match(text)
    return text if named is None else named[1]
