"""Pages of the admin that are no table of their own: each a proxy, so that every admin's menu lists it."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from .clock import Clock
from .run import Run
from .step_run import StepRun
from .workflow import Step


class Approval(StepRun):
    """A step run that waits for people: the page of what the signed-in person may answer."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")


class Failure(Run):
    """A run that failed: the page of what is to be put right."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("failure")
        verbose_name_plural = _("failures")


class Health(Clock):
    """A clock: the page of who ticks, who listens and what waits."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("health")
        verbose_name_plural = _("health")


class StepType(Step):
    """A step: the page of the types that one may have."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("step type")
        verbose_name_plural = _("step types")
