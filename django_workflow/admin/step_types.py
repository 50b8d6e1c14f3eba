"""The page of step types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..models import StepType
from .pages import PageAdminMixin, render_page

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[StepType]
else:
    ModelAdmin = admin.ModelAdmin


class StepTypeAdminMixin(PageAdminMixin):
    """What the page of step types does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        return render_page(request, self, "step_types.html", title=_("Step types"))


class StepTypeAdmin(StepTypeAdminMixin, ModelAdmin):
    """The page of step types on the default site."""
