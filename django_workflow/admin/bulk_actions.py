"""Bulk actions in the admin: how far they are, what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..engine.bulk import SLICE, advance
from ..models import BulkAction
from .allowed import is_allowed
from .bulk_page import (
    BulkPage,
    describe,
    is_inline,
    marks,
    may_go_on,
    name_verb,
    show_progress,
    show_state,
    show_title,
)
from .fragments import answer_fragment, make_etag, poll_after
from .links import row_url
from .pages import RowsMixin
from .read_only import LightChangeList, NeverDeletedMixin
from .showing import show_moment

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[BulkAction]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object

LIVE = "admin/django_workflow/bulk_action/live.html"
# What of a row its page shows and may change.
COLUMNS = ("done", "refused", "last", "finished_at", "is_ticking")
MOST_CHARACTERS = 150


class BulkActionAdminMixin(RowsMixin, NeverDeletedMixin, Mixed):
    """What the pages of bulk actions do, for any ``ModelAdmin`` of any site.

    Who may view runs may view what is done to many of them.
    """

    list_display = (
        "shown_verb",
        "shown_state",
        "progress",
        "shown_filters",
        "refused",
        "started_by",
        "created",
    )
    list_display_links = ("shown_verb",)
    list_defer = ("arguments", "refusals", "note")
    list_per_page = 50
    change_form_template = "admin/django_workflow/bulk_action/change_form.html"

    @admin.display(description=_("verb"), ordering="verb")
    def shown_verb(self, bulk: BulkAction) -> str:
        """Return the verb, as its button says it."""
        return name_verb(bulk.verb)

    @admin.display(description=_("state"), ordering="finished_at")
    def shown_state(self, bulk: BulkAction) -> SafeString:
        """Return whether it is over."""
        return show_state(bulk)

    @admin.display(description=_("runs"))
    def shown_filters(self, bulk: BulkAction) -> str:
        """Return which runs it is for."""
        return Truncator(", ".join(describe(bulk))).chars(MOST_CHARACTERS)

    # A method, so that no list is sorted by the users, who may be in another database.
    @admin.display(description=_("by"))
    def started_by(self, bulk: BulkAction) -> AbstractBaseUser | None:
        """Return who began it."""
        return bulk.by

    @admin.display(description=_("progress"))
    def progress(self, bulk: BulkAction) -> str:
        """Return how far it is."""
        return show_progress(bulk)

    @admin.display(description=_("begun"), ordering="created_at")
    def created(self, bulk: BulkAction) -> SafeString:
        """Return when it was begun."""
        return show_moment(bulk.created_at)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the user may see bulk actions, or runs."""
        return super().has_view_permission(request, obj) or is_allowed(request, "view_run")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out."""
        return LightChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with who began them, and whether somebody goes on with them inline."""
        rows: QuerySet[Any] = super().get_queryset(request).prefetch_related("by").annotate(**marks())
        return rows

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return no fields: the page has parts of its own."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages."""
        name = "django_workflow_bulkaction"
        own = [
            # Not wrapped: who is not logged in any more is told so, and not sent to the login page.
            path("<uuid:pk>/live/", self.live_view, name=f"{name}_live"),
            path("<uuid:pk>/go-on/", self.admin_site.admin_view(self.go_on_view), name=f"{name}_go_on"),
        ]
        return [*own, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page of a bulk action."""
        bulk = context["original"]
        context["page"] = BulkPage(request, self, bulk)
        context |= {"title": show_title(bulk.verb, bulk.total), "subtitle": None}
        # As it was read, so that a change after that is seen by the next look.
        context["etag"] = make_etag(request, bulk.pk, tuple(vars(bulk)[name] for name in COLUMNS))
        context["live_url"] = row_url(self.admin_site, bulk, "live")
        context["poll"] = poll_after(is_final=bulk.finished_at is not None)
        return super().render_change_form(request, context, *args, **kwargs)

    def live_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return the part of the page that changes; 304 where it has not, 403 without permission."""
        may_look = self.admin_site.has_permission(request) and self.has_view_permission(request)
        rows = self.get_queryset(request).filter(pk=pk)
        found = rows.values_list(*COLUMNS).first() if may_look else None
        is_final = found is not None and found[COLUMNS.index("finished_at")] is not None

        def render() -> str:
            bulk = rows.get()
            return render_to_string(LIVE, {"page": BulkPage(request, self, bulk), "bulk": bulk}, request)

        etag = make_etag(request, pk, found)
        return answer_fragment(request, etag, may_view=found is not None, is_final=is_final, render=render)

    def go_on_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Go on with it for a moment, where nobody else does. Raises ``PermissionDenied``."""
        bulk = self.get_queryset(request).filter(pk=pk).first()
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_view_permission(request, bulk) or (bulk and not may_go_on(request, bulk)):
            raise PermissionDenied
        if bulk is None:
            raise Http404
        using = bulk._state.db or "default"
        if not is_inline():
            self.message_user(request, gettext("Workers go on with it."))
        elif connections[using].in_atomic_block:
            self.message_user(request, gettext("The clock goes on with it."), messages.WARNING)
        else:
            advance(using, bulk.pk, seconds=SLICE)
        return HttpResponseRedirect(row_url(self.admin_site, bulk))


class BulkActionAdmin(BulkActionAdminMixin, ModelAdmin):
    """Bulk actions on the default site."""
