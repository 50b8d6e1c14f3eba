"""The app's start-up: find the step types, then the receivers and checks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

from . import checks, telemetry
from .conf import get_settings


class DjangoWorkflowConfig(AppConfig):
    """Finds what the ``steps.py`` modules of the installed apps register, as the admin finds ``admin.py``."""

    name = "django_workflow"
    verbose_name = _("Workflows")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the step modules, connect the receivers, register the checks."""
        import_module("django_workflow.steps")
        autodiscover_modules(get_settings().STEPS_MODULE)
        telemetry.connect()
        import_module("django_workflow.engine.callers").connect()
        import_module("django_workflow.engine.fixtures").connect()
        checks.register_all()
        post_migrate.connect(_sync_files, sender=self)


def _sync_files(**options: Any) -> None:
    import_module("django_workflow.engine.sync").sync_after_migrate(**options)
