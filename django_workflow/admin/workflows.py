"""Workflows in the admin: a draft that is saved as it stands, and published when it is right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..engine.publish import hand_to_staff, publish
from ..models import Run, Step, Workflow, WorkflowVersion
from ..registry import all_handlers
from .allowed import is_allowed
from .confirming import ask
from .drafts import PUBLISH, WorkflowForm
from .duplicating import may_duplicate, show_duplicate
from .guarded import permission_of
from .links import Link, list_url, row_url
from .pages import RowsMixin
from .read_only import can_see, replace_field
from .revisions import hold, is_draft_offered, is_staffs, is_stale, is_taken, revision_of
from .showing import NOTHING, hide_defaults, show_text, write_json
from .steps import JSON_BOX, StepInline
from .triggering import may_trigger, show_trigger
from .workflow_list import WorkflowChangeList, WorkflowColumns

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Workflow]
    Mixed = ModelAdmin
else:
    ModelAdmin, Mixed = admin.ModelAdmin, object


# The workflow's own, the management form's, the token and the button.
FIELDS_BESIDE_STEPS = 20
_LIMITS = ("input", "queue", "timeout", "max_visits", "shown_on_failure")
_NEVER_TYPED = ("managed_by", "source", "published", "shown_input", "shown_on_failure")


class WorkflowAdminMixin(RowsMixin, WorkflowColumns, Mixed):
    """What the pages of workflows do, for any ``ModelAdmin`` of any site."""

    form = WorkflowForm
    inlines = (StepInline,)
    list_display = (
        "name",
        "enabled",
        "last_runs",
        "success",
        "median",
        "p95",
        "owner",
        "published_number",
    )
    list_per_page = 50
    list_filter = ("enabled", "managed_by")
    list_select_related = ("published",)
    list_defer = ("input", "on_failure", "published__spec", "published__warnings")
    search_fields = ("name", "description")
    formfield_overrides = JSON_BOX
    fieldsets = (
        (None, {"fields": ("name", "description", "enabled", "managed_by", "source", "published")}),
        (gettext_lazy("Input and limits"), {"fields": _LIMITS}),
    )

    @admin.display(description=gettext_lazy("on failure"))
    def shown_on_failure(self, workflow: Workflow) -> str:
        """Return what follows a failed run, which a file or code writes."""
        value = workflow.on_failure
        return NOTHING if value is None else value if isinstance(value, str) else show_text(write_json(value))

    def has_publish_permission(self, request: HttpRequest, obj: Workflow | None = None) -> bool:
        """Say whether the user may publish the workflow."""
        return is_allowed(request, "publish_workflow", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Workflow | None = None) -> bool:
        """Say whether the user may delete workflows, or this one with its steps."""
        types = [] if obj is None else obj.steps.values_list("type", flat=True)
        needed = {permission_of(type) for type in types} - {""}
        return super().has_delete_permission(request, obj) and all(
            is_allowed(request, permission, obj) for permission in needed
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the list that leaves big columns out, and tells how the latest runs went."""
        return WorkflowChangeList

    @admin.display(description=gettext_lazy("input"))
    def shown_input(self, workflow: Workflow) -> str:
        """Return the declared input as indented JSON, hidden parts starred."""
        return show_text(write_json(hide_defaults(workflow.input))) if workflow.input else NOTHING

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; of a draft that may only be read, without what is hidden."""
        fieldsets = super().get_fieldsets(request, obj)
        is_offered = obj is None or is_draft_offered(request, obj)
        if is_offered and (obj is None or self.has_change_permission(request, obj)):
            return fieldsets
        return replace_field(fieldsets, "input", "shown_input")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what nobody types, the name of a published workflow among it; of a workflow that staff do
        not own, all but the switch."""
        if obj is None or is_draft_offered(request, obj):
            is_published = obj is not None and obj.published_id is not None
            return ("name", *_NEVER_TYPED) if is_published else _NEVER_TYPED
        fields = flatten_fieldsets(self.get_fieldsets(request, obj))
        return tuple(name for name in fields if name != "enabled")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the class of the form, which is told who asks and for what, and what is stored."""
        form = super().get_form(request, obj, change, **kwargs)
        form.request, form.site = request, self.admin_site  # type: ignore[attr-defined]
        if obj is not None:
            is_draft = is_draft_offered(request, obj)
            form.revision = revision_of(obj, is_draft=is_draft)  # type: ignore[attr-defined]
            form.is_stale = is_stale(request, obj)  # type: ignore[attr-defined]
            form.is_taken = is_taken(obj, is_draft=is_draft)  # type: ignore[attr-defined]
        form.is_publishing = PUBLISH in request.POST  # type: ignore[attr-defined]
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the page; what is sent is compared with what is stored, which nobody changes meanwhile."""
        if request.method != "POST" or object_id is None:
            return super().changeform_view(request, object_id, *args, **kwargs)
        with transaction.atomic(using=router.db_for_write(Workflow)):
            hold(object_id)
            return super().changeform_view(request, object_id, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the workflow's own fields. Raises ``PermissionDenied`` for publishing without the
        permission."""
        if PUBLISH in request.POST and not (is_staffs(obj) and self.has_publish_permission(request, obj)):
            raise PermissionDenied
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the steps, then publish where that was asked for."""
        super().save_related(request, form, formsets, change)
        if PUBLISH in request.POST:
            form.published = self._publish(request, form.instance)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Return what the history says, a new version included."""
        message: Any = super().construct_change_message(request, form, formsets, add)
        if form.published is not None:
            name = str(WorkflowVersion._meta.verbose_name)
            message.append({"added": {"name": name, "object": str(form.published)}})
        return message

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page, with the ways on from it."""
        workflow = context["original"]
        is_ours = workflow is None or is_staffs(workflow)
        may_write = workflow is None or self.has_change_permission(request, workflow)
        context["handlers"] = all_handlers()
        context["may_publish"] = is_ours and may_write and self.has_publish_permission(request, workflow)
        if request.method == "GET" and is_ours and may_write:
            self._warn_of_size(request, context["inline_admin_formsets"])
        context["links"] = [] if workflow is None else list(self._links(request, workflow))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the workflows: steps and versions are parts of them, no permission asked.

        What protects them comes first: their runs are not to be deleted, whoever may.
        """
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        parts = {str(model._meta.verbose_name) for model in (Step, WorkflowVersion)}
        others = set() if protected else {name for name in lacking if str(name) not in parts}
        return deleted, counts, others, protected

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, *Edit here*, *Duplicate* and *Trigger* among them."""
        wrap, name = self.admin_site.admin_view, "django_workflow_workflow"
        own = [
            path("<path:object_id>/edit-here/", wrap(self.edit_here_view), name=f"{name}_edit_here"),
            path("<path:object_id>/duplicate/", wrap(self.duplicate_view), name=f"{name}_duplicate"),
            path("<path:object_id>/trigger/", wrap(self.trigger_view), name=f"{name}_trigger"),
        ]
        return [*own, *super().get_urls()]

    def trigger_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form that starts a run; on POST start it."""
        return show_trigger(self, request, self.get_object(request, unquote(object_id)))

    def duplicate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a name; on POST make a draft of that name with the same fields and steps."""
        return show_duplicate(self, request, self.get_object(request, unquote(object_id)))

    def edit_here_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then hand a workflow that a file or code owns to staff."""
        workflow = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, workflow):
            raise PermissionDenied
        if workflow is None:
            raise Http404
        page = row_url(self.admin_site, workflow)
        if is_staffs(workflow):
            self.message_user(request, _("Staff own this workflow already."))
            return HttpResponseRedirect(page)
        if request.method != "POST":
            text = _("Staff will own this workflow: its file, or define(), changes it no more.")
            return ask(request, self, _("Edit here"), text, rows=[workflow], back=page, has_note=False)
        hand_to_staff(workflow, using=workflow._state.db or "default")
        self.log_change(request, workflow, _("Handed to staff."))
        self.message_user(request, _("This workflow is now edited here."), messages.SUCCESS)
        return HttpResponseRedirect(page)

    def _publish(self, request: HttpRequest, workflow: Workflow) -> WorkflowVersion | None:
        before = workflow.published_id
        version = publish(
            workflow,
            using=workflow._state.db or "default",
            by=request.user if request.user.is_authenticated else None,
        )
        is_new = version.pk != before
        text = _("Published as version %s.") if is_new else _("Nothing to publish: version %s is the same.")
        self.message_user(request, text % version.number, messages.SUCCESS if is_new else messages.INFO)
        for warning in version.warnings:
            self.message_user(request, _("Warning: %s") % warning, messages.WARNING)
        return version if is_new else None

    def _warn_of_size(self, request: HttpRequest, formsets: Iterable[Any]) -> None:
        # Django answers a form of more fields by a bare 400, and what was typed is lost.
        most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        count = sum(len(form.fields) for each in formsets for form in each.formset.forms)
        if most is not None and count + FIELDS_BESIDE_STEPS > most:
            text = _(
                "This workflow has too many steps to be saved here: its form has %(count)s fields, and "
                "DATA_UPLOAD_MAX_NUMBER_FIELDS allows %(most)s. Raise that setting first."
            )
            self.message_user(request, text % {"count": count, "most": most}, messages.WARNING)

    def _links(self, request: HttpRequest, workflow: Workflow) -> Iterable[Link]:
        filters = {"workflow__id__exact": workflow.pk}
        if workflow.published_id is not None and may_trigger(request, workflow):
            url = row_url(self.admin_site, workflow, "trigger")
            yield Link(url=url, label=gettext_lazy("Trigger"))
        if not is_staffs(workflow) and self.has_change_permission(request, workflow):
            url = row_url(self.admin_site, workflow, "edit_here")
            yield Link(url=url, label=gettext_lazy("Edit here"))
        if may_duplicate(self, request, workflow):
            url = row_url(self.admin_site, workflow, "duplicate")
            yield Link(url=url, label=gettext_lazy("Duplicate"))
        if can_see(self.admin_site, WorkflowVersion, request):
            url = list_url(self.admin_site, WorkflowVersion, **filters)
            yield Link(url=url, label=gettext_lazy("Versions"))
        if can_see(self.admin_site, Run, request):
            url = list_url(self.admin_site, Run, workflow=workflow.name)
            yield Link(url=url, label=gettext_lazy("Runs"))


class WorkflowAdmin(WorkflowAdminMixin, ModelAdmin):
    """Workflows on the default site."""
