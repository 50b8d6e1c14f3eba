"""Pages that show rows and never change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    Options = admin.options.BaseModelAdmin[Model]
else:
    Options = object


class ReadOnlyMixin(Options):
    """Neither adds nor changes rows; deleting is left to the permission."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class NeverDeletedMixin(ReadOnlyMixin):
    """Rows that only go with the row they belong to."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


class LightChangeList(ChangeList):
    """A list that leaves the columns that its admin names in ``list_defer`` in the database."""

    def get_queryset(self, request: HttpRequest, *args: Any, **options: Any) -> QuerySet[Model]:
        """Return the rows of the page without their big columns."""
        rows: QuerySet[Model] = super().get_queryset(request, *args, **options)
        return rows.defer(*getattr(self.model_admin, "list_defer", ()))


def can_see(site: AdminSite, model: type[Model], request: HttpRequest) -> bool:
    """Say whether the site has pages of the model that the user may see."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


def replace_field(fieldsets: Any, name: str, other: str) -> Any:
    """Return ``fieldsets`` with the field ``other`` in the place of ``name``."""

    def replaced(field: Any) -> Any:
        if isinstance(field, (list, tuple)):
            return tuple(map(replaced, field))
        return other if field == name else field

    return [(title, {**options, "fields": replaced(options["fields"])}) for title, options in fieldsets]
