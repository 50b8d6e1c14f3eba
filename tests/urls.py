"""The admin and the pages of approvals, as a project would mount them."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("workflows/", include("django_workflow.urls")),
]
