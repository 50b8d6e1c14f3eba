"""The admin: workflows to edit and publish, runs to watch and to put right, and the pages of who is on duty.

Behaviour is in mixins, so that a project can put it on another ``ModelAdmin`` or another site::

    class RunAdmin(RunAdminMixin, ThemedModelAdmin): ...
    my_site.register(Run, RunAdmin)
"""

from __future__ import annotations

from django.contrib import admin

from ..models import (
    Approval,
    BulkAction,
    Failure,
    Health,
    Run,
    StepRun,
    StepType,
    Workflow,
    WorkflowVersion,
)
from .approvals import ApprovalAdmin, ApprovalAdminMixin
from .bulk_actions import BulkActionAdmin, BulkActionAdminMixin
from .failures import FailureAdmin, FailureAdminMixin
from .health import HealthAdmin, HealthAdminMixin
from .runs import RunAdmin, RunAdminMixin
from .step_runs import StepRunAdmin, StepRunAdminMixin
from .step_types import StepTypeAdmin, StepTypeAdminMixin
from .subjects import WorkflowSubjectMixin
from .versions import VersionAdmin, VersionAdminMixin
from .workflows import WorkflowAdmin, WorkflowAdminMixin

__all__ = [
    "ApprovalAdmin",
    "ApprovalAdminMixin",
    "BulkActionAdmin",
    "BulkActionAdminMixin",
    "FailureAdmin",
    "FailureAdminMixin",
    "HealthAdmin",
    "HealthAdminMixin",
    "RunAdmin",
    "RunAdminMixin",
    "StepRunAdmin",
    "StepRunAdminMixin",
    "StepTypeAdmin",
    "StepTypeAdminMixin",
    "VersionAdmin",
    "VersionAdminMixin",
    "WorkflowAdmin",
    "WorkflowAdminMixin",
    "WorkflowSubjectMixin",
]

admin.site.register(Workflow, WorkflowAdmin)
admin.site.register(WorkflowVersion, VersionAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(StepRun, StepRunAdmin)
admin.site.register(BulkAction, BulkActionAdmin)
admin.site.register(Failure, FailureAdmin)
admin.site.register(Approval, ApprovalAdmin)
admin.site.register(Health, HealthAdmin)
admin.site.register(StepType, StepTypeAdmin)
