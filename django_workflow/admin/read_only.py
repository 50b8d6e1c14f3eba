"""Pages that show rows and never change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property

from ..models.row import count_up_to

if TYPE_CHECKING:
    Options = admin.options.BaseModelAdmin[Model]
    Pages = Paginator[Any]
else:
    Options, Pages = object, Paginator

MOST_COUNTED = 10_000


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


class CappedPaginator(Pages):
    """Counts no further than anybody turns pages; ``has_more`` says that it stopped there."""

    @cached_property
    def count(self) -> int:
        """The number of rows, at most :data:`MOST_COUNTED`."""
        return min(self._counted, MOST_COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > MOST_COUNTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return count_up_to(rows, MOST_COUNTED)


def show_count(count: int) -> str:
    """Return a number that was counted as far as that of a list: ``10,000+`` where there are more."""
    shown = number_format(min(count, MOST_COUNTED), force_grouping=True)
    return f"{shown}+" if count > MOST_COUNTED else shown


class LightChangeList(ChangeList):
    """A list that leaves the columns that its admin names in ``list_defer`` in the database.

    It is sorted by no column but those of ``sortable_by``, whatever the address says.
    """

    def get_ordering_field(self, field_name: Any) -> Any:
        """Return what the column is sorted by; None where it is not to be."""
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

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
