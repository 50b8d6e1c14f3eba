"""The admin: workflows to edit and publish, runs to watch, cancel and retry.

Behaviour is in mixins, so that a project can put it on another ``ModelAdmin`` or another site::

    class RunAdmin(RunAdminMixin, ThemedModelAdmin): ...
    my_site.register(Run, RunAdmin)
"""

from __future__ import annotations

from django.contrib import admin

from ..models import Run, StepRun, Workflow, WorkflowVersion
from .runs import RunAdmin, RunAdminMixin
from .step_runs import StepRunAdmin, StepRunAdminMixin
from .versions import VersionAdmin, VersionAdminMixin
from .workflows import WorkflowAdmin, WorkflowAdminMixin

__all__ = [
    "RunAdmin",
    "RunAdminMixin",
    "StepRunAdmin",
    "StepRunAdminMixin",
    "VersionAdmin",
    "VersionAdminMixin",
    "WorkflowAdmin",
    "WorkflowAdminMixin",
]

admin.site.register(Workflow, WorkflowAdmin)
admin.site.register(WorkflowVersion, VersionAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(StepRun, StepRunAdmin)
