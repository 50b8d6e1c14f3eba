"""The page of health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..models import Health
from .pages import PageAdminMixin, render_page

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Health]
else:
    ModelAdmin = admin.ModelAdmin


class HealthAdminMixin(PageAdminMixin):
    """What the page of health does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        return render_page(request, self, "health.html", title=_("Health"))


class HealthAdmin(HealthAdminMixin, ModelAdmin):
    """The page of health on the default site."""
