"""System checks: what is wrong with the settings, databases, step types, shipped files and stored versions.

All have the tag ``django_workflow``: ``manage.py check --tag django_workflow``. Versions are only checked for
the databases that are named: ``manage.py check --database default``.
"""

from __future__ import annotations

from importlib import import_module

from django.core.checks import Tags, register

from .environment import check_databases, check_inline, check_time_zones
from .keys import check_settings
from .queues import check_queues, check_workers
from .shipped import check_files
from .step_types import check_signatures

TAG = "django_workflow"


def register_all() -> None:
    """Register every check; calling it again changes nothing."""
    for check in (check_settings, check_queues, check_workers, check_inline, check_time_zones):
        register(check, TAG)
    for check in (check_databases, check_signatures, check_files):
        register(check, TAG)
    # It needs the models, and this package is imported before they are.
    stored = import_module(".stored", __package__)
    register(stored.check_versions, TAG, Tags.database)
