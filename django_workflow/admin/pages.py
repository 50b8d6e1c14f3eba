"""Pages of the admin that are no list and no form of rows: their frame, and who sees them in the menu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from .allowed import check_may_view, is_allowed
from .read_only import NeverDeletedMixin
from .trouble import warn_of_trouble

if TYPE_CHECKING:
    Mixed = admin.ModelAdmin[Any]
else:
    Mixed = object

CSS: dict[str, Sequence[str]] = {"all": ("django_workflow/admin.css",)}
SCRIPTS = ("django_workflow/admin.js",)
LOOKS = forms.Media(css=CSS, js=SCRIPTS)


class LooksMixin:
    """Brings the style sheet and the script that all pages share."""

    class Media:
        css = CSS
        js = SCRIPTS


class RowsMixin(LooksMixin, Mixed):
    """A list, and a page for each row, with the banner while something is wrong.

    ``lookups_of_links`` are lookups that our own links use beside the list's filters.
    """

    lookups_of_links: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Say yes to the list's filters only.

        Django allows any lookup on a column, by which what is hidden could be found out letter by letter.
        """
        filters = [*self.list_filter, *([self.date_hierarchy] if self.date_hierarchy else [])]
        return lookup in self.lookups_of_links or any(_is_of(each, lookup) for each in filters)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Return the list."""
        request.GET = without_nul(request.GET)  # type: ignore[assignment]
        if request.method == "GET":
            warn_of_trouble(request, self.admin_site)
        return super().changelist_view(request, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page of a row."""
        if request.method == "GET":
            warn_of_trouble(request, self.admin_site)
        return super().render_change_form(request, context, *args, **kwargs)


class PageAdminMixin(LooksMixin, NeverDeletedMixin, Mixed):
    """One page in place of a list; ``permission`` is what it takes to see it, nothing: to be of the staff."""

    permission = "view_run"

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        raise NotImplementedError

    def pages(self) -> list[URLPattern]:
        """Return the addresses below the page, if it has some."""
        return []

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the user may see the page."""
        return not self.permission or is_allowed(request, self.permission)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Say whether the menu names it."""
        return self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Return the page. Raises ``PermissionDenied``."""
        check_may_view(self, request)
        return self.show(request)

    def get_urls(self) -> list[URLPattern]:
        """Return the address of the page, with the name that menus look for."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name), *self.pages()]


def without_nul(given: QueryDict) -> QueryDict:
    """Return the values of an address without NUL, which PostgreSQL takes in no text."""
    if not any("\0" in value for name, values in given.lists() for value in (name, *values)):
        return given
    cleaned = QueryDict(mutable=True)
    for name, values in given.lists():
        cleaned.setlist(name.replace("\0", ""), [value.replace("\0", "") for value in values])
    return cleaned


def _is_of(list_filter: Any, lookup: str) -> bool:
    """Return whether a filter of a list has ``lookup``: its field's, or its own word."""
    if isinstance(list_filter, type):
        return lookup == getattr(list_filter, "parameter_name", None)
    field = list_filter if isinstance(list_filter, str) else list_filter[0]
    return lookup.partition("__")[0] == field


def render_page(
    request: HttpRequest, page: admin.ModelAdmin[Any], template: str, *, title: Any, **context: Any
) -> HttpResponse:
    """Return a page in the frame of its site.

    A page whose form needs scripts of the admin's gives ``media``, ``page.media`` among it.
    """
    request.current_app = page.admin_site.name
    warn_of_trouble(request, page.admin_site)
    frame = {**page.admin_site.each_context(request), "opts": page.opts, "media": LOOKS, "title": title}
    return TemplateResponse(request, f"admin/django_workflow/{template}", {**frame, **context})
