"""Published versions in the admin: to be read, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from ..models import WorkflowVersion
from .allowed import is_allowed
from .pages import RowsMixin
from .read_only import LightChangeList, NeverDeletedMixin
from .showing import NOTHING, hide_literals, show_text, write_json

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[WorkflowVersion]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object


class VersionAdminMixin(RowsMixin, NeverDeletedMixin, Mixed):
    """What the pages of versions do; who may see the workflow sees its versions."""

    list_display = ("number", "workflow", "created_at", "publisher")
    list_select_related = ("workflow",)
    lookups_of_links = ("workflow__id__exact",)
    list_defer = ("spec", "warnings", "workflow__input", "workflow__on_failure")
    fields = ("workflow", "number", "created_at", "publisher", "shown_warnings", "shown_spec")
    readonly_fields = fields

    # A method, so that no list is sorted by the users, who may be in another database.
    @admin.display(description=_("published by"))
    def publisher(self, version: WorkflowVersion) -> AbstractBaseUser | None:
        """Return who published it."""
        return version.published_by

    @admin.display(description=_("definition"))
    def shown_spec(self, version: WorkflowVersion) -> str:
        """Return the definition as indented JSON, hidden parts starred."""
        return show_text(write_json(hide_literals(version.spec)))

    @admin.display(description=_("warnings"))
    def shown_warnings(self, version: WorkflowVersion) -> str:
        """Return the warnings as a list."""
        items = format_html_join("", "<li>{}</li>", ((warning,) for warning in version.warnings))
        return format_html_join("", "<ul>{}</ul>", [(items,)]) if version.warnings else NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkflowVersion]:
        """Return the versions with who published them."""
        rows: QuerySet[WorkflowVersion] = super().get_queryset(request).prefetch_related("published_by")
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out."""
        return LightChangeList

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the user may see versions, or the workflow."""
        workflow = None if obj is None else obj.workflow
        return super().has_view_permission(request, obj) or any(
            is_allowed(request, permission, workflow) for permission in ("view_workflow", "change_workflow")
        )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return False: versions are reached from their workflow."""
        return False


class VersionAdmin(VersionAdminMixin, ModelAdmin):
    """Versions on the default site."""
