"""The catalogue of step types: help, params, what a crash may do, an example to paste, where each is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..durations import format_duration
from ..exceptions import RegistrationError
from ..insight.catalogue import (
    default_of,
    describe_crash,
    describe_place,
    describe_retry,
    describe_type,
    example_of,
    where_used,
)
from ..models import StepType, Workflow
from ..params import Param
from ..registry import Handler, all_handlers
from .allowed import is_allowed
from .links import Link, row_url
from .pages import PageAdminMixin, render_page
from .read_only import can_see

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[StepType]
else:
    ModelAdmin = admin.ModelAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A step type as the page shows it; ``trouble`` says why its params cannot be read."""

    handler: Handler
    used: Sequence[Link]
    trouble: str = ""

    @property
    def prefix(self) -> str:
        """The beginning of the type: most often the app."""
        return self.handler.type.partition(".")[0]

    @property
    def rest(self) -> str:
        """The type without its prefix."""
        return self.handler.type.partition(".")[2]

    @property
    def params(self) -> list[tuple[Param, str, str]]:
        """Each param with its type in words, and its default; an empty text for none."""
        if self.trouble:
            return []
        given = [(each, "" if each.default is None else default_of(each)) for each in self.handler.params]
        return [(each, describe_type(each), default) for each, default in given]

    @property
    def takes_any(self) -> bool:
        """Whether it takes any other keys."""
        return not self.trouble and self.handler.params.extra

    @property
    def crash(self) -> str:
        """What a crash may do to it."""
        return describe_crash(self.handler)

    @property
    def retry(self) -> str:
        """How it is retried, where a step does not say otherwise."""
        return describe_retry(self.handler)

    @property
    def timeout(self) -> str:
        """How long an attempt may take, where a step does not say otherwise."""
        return "" if self.handler.timeout is None else str(format_duration(self.handler.timeout))

    @property
    def example(self) -> str:
        """A step of this type, to be pasted."""
        return "" if self.trouble else example_of(self.handler)

    @property
    def place(self) -> str:
        """Where it is written."""
        return describe_place(self.handler)


class StepTypeAdminMixin(PageAdminMixin):
    """What the page of step types does, for any ``ModelAdmin`` of any site."""

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Say whether the user may see workflows, or runs."""
        needed = ("view_workflow", "change_workflow", "view_run")
        return any(is_allowed(request, permission) for permission in needed)

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page; ``q`` is a part of a type, a label or a help."""
        query = request.GET.get("q", "").strip()
        used = where_used()
        has_page = can_see(self.admin_site, Workflow, request)
        entries = [
            self._entry(handler, used.get(handler.type, []), has_page)
            for handler in all_handlers()
            if query.lower() in f"{handler.type} {handler.label} {handler.help_text}".lower()
        ]
        title = _("Step types")
        return render_page(request, self, "step_types.html", title=title, entries=entries, query=query)

    def _entry(self, handler: Handler, used: Sequence[tuple[int, str]], has_page: bool) -> Entry:
        links = [Link(url=self._url(pk) if has_page else "", label=name) for pk, name in used]
        try:
            _signature = handler.signature
        except RegistrationError as error:
            return Entry(handler=handler, used=links, trouble=str(error))
        return Entry(handler=handler, used=links)

    def _url(self, pk: int) -> str:
        return row_url(self.admin_site, Workflow(pk=pk))


class StepTypeAdmin(StepTypeAdminMixin, ModelAdmin):
    """The page of step types on the default site."""
