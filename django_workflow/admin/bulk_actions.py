"""Bulk actions in the admin: how far they are, what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from ..models import BulkAction
from .pages import LooksMixin
from .read_only import NeverDeletedMixin

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[BulkAction]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object


class BulkActionAdminMixin(LooksMixin, NeverDeletedMixin, Mixed):
    """What the pages of bulk actions do, for any ``ModelAdmin`` of any site."""


class BulkActionAdmin(BulkActionAdminMixin, ModelAdmin):
    """Bulk actions on the default site."""
