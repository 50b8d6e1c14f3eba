"""The pages on a site whose every ``ModelAdmin`` is one of Unfold's."""

from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from django_workflow import admin as pages
from django_workflow import models
from tests.testapp.models import Order

site = UnfoldAdminSite()
for model, mixin in (
    (models.Workflow, pages.WorkflowAdminMixin),
    (models.WorkflowVersion, pages.VersionAdminMixin),
    (models.Run, pages.RunAdminMixin),
    (models.StepRun, pages.StepRunAdminMixin),
    (models.BulkAction, pages.BulkActionAdminMixin),
    (models.Failure, pages.FailureAdminMixin),
    (models.Approval, pages.ApprovalAdminMixin),
    (models.Health, pages.HealthAdminMixin),
    (models.StepType, pages.StepTypeAdminMixin),
):
    site.register(model, type(mixin.__name__.removesuffix("Mixin"), (mixin, ModelAdmin), {}))
site.register(Order, type("OrderAdmin", (pages.WorkflowSubjectMixin, ModelAdmin), {}))

urlpatterns = [path("admin/", site.urls)]
