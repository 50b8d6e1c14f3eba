"""The page of approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..models import Approval
from .pages import PageAdminMixin, render_page

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Approval]
else:
    ModelAdmin = admin.ModelAdmin


class ApprovalAdminMixin(PageAdminMixin):
    """What the page of approvals does, for any ``ModelAdmin`` of any site."""

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        return render_page(request, self, "approvals.html", title=_("Approvals"))


class ApprovalAdmin(ApprovalAdminMixin, ModelAdmin):
    """The page of approvals on the default site."""
