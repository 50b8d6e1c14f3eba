"""The page of failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..models import Failure
from .pages import PageAdminMixin, render_page

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Failure]
else:
    ModelAdmin = admin.ModelAdmin


class FailureAdminMixin(PageAdminMixin):
    """What the page of failures does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        return render_page(request, self, "failures.html", title=_("Failures"))


class FailureAdmin(FailureAdminMixin, ModelAdmin):
    """The page of failures on the default site."""
