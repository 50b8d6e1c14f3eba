"""The pages outside the admin: ``path("workflows/", include("django_workflow.urls"))``."""

from django.urls import path

from . import views

app_name = "django_workflow"
urlpatterns = [path("approval/<str:token>/", views.answer_approval, name="approval")]
