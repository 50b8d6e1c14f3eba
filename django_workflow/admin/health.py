"""The page of health: what ``workflow_health`` says, and the only one that asks Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db import router
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..engine.health import DatabaseFacts, examine
from ..engine.tick import clock_aliases
from ..models import BulkAction, Health, Run
from .bulk_page import name_verb, show_progress
from .links import Link, row_url
from .pages import PageAdminMixin, render_page
from .read_only import can_see
from .showing import shorten_id

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Health]
else:
    ModelAdmin = admin.ModelAdmin

MOST_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One alias, with links to the first of the runs that nothing moves."""

    facts: DatabaseFacts
    halted: Sequence[Link]


class HealthAdminMixin(PageAdminMixin):
    """What the page of health does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page; whatever is down, it is one that says so."""
        health = examine(clock_aliases())
        context = {
            "health": health,
            "problems": [_show(problem) for problem in health.problems],
            "databases": [_database(self.admin_site, facts) for facts in health.databases],
            "bulk_actions": self._bulk_actions(request),
        }
        return render_page(request, self, "health.html", title=_("Health"), **context)

    def _bulk_actions(self, request: HttpRequest) -> list[tuple[BulkAction, Link]]:
        """Return those that are under way, the oldest first, each with the way to its page."""
        unfinished = BulkAction.objects.unfinished().order_by("pk").defer("refusals", "arguments", "note")
        may_see = can_see(self.admin_site, BulkAction, request)
        return [(bulk, _way_to(self.admin_site, bulk, may_see)) for bulk in unfinished[:MOST_LISTED]]


def _show(problem: str) -> SafeString:
    """Return a line of ``workflow_health`` with its commands marked up."""
    parts = enumerate(problem.split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if at % 2 else part,) for at, part in parts)
    )


def _way_to(site: AdminSite, bulk: BulkAction, may_see: bool) -> Link:
    label = f"{name_verb(bulk.verb)}: {show_progress(bulk)}"
    return Link(url=row_url(site, bulk) if may_see else "", label=label)


def _database(site: AdminSite, facts: DatabaseFacts) -> Database:
    halted = [_halted(site, run_id, facts.alias) for run_id in facts.halted[:MOST_LISTED]]
    return Database(facts=facts, halted=halted)


def _halted(site: AdminSite, run_id: UUID, alias: str) -> Link:
    # The pages of runs show those of one database.
    is_shown = site.is_registered(Run) and alias == router.db_for_write(Run)
    return Link(url=row_url(site, Run(pk=run_id)) if is_shown else "", label=shorten_id(run_id))


class HealthAdmin(HealthAdminMixin, ModelAdmin):
    """The page of health on the default site."""
