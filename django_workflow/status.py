"""The statuses of runs and steps: closed lists, and which of them are final."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class RunStatus(TextChoices):
    """Where a run stands."""

    PENDING = "pending", _("pending")  # stored; nothing of it has started
    RUNNING = "running", _("running")  # a step is running or ready
    WAITING = "waiting", _("waiting")  # every live step waits for something
    PAUSED = "paused", _("paused")  # a person stopped it; nothing starts
    DONE = "done", _("done")  # ended well
    FAILED = "failed", _("failed")  # a step failed for good, or the run ran out of time
    CANCELLED = "cancelled", _("cancelled")  # a person ended it, or its workflow was off


class StepStatus(TextChoices):
    """Where one attempt of a step stands."""

    PENDING = "pending", _("pending")  # may start at ``due_at``
    RUNNING = "running", _("running")  # claimed: a worker holds its lease
    WAITING = "waiting", _("waiting")  # for what ``waiting_for`` says
    DONE = "done", _("done")  # its output is recorded
    FAILED = "failed", _("failed")  # its error is recorded
    SKIPPED = "skipped", _("skipped")  # its condition was false, or a jump passed it by
    CANCELLED = "cancelled", _("cancelled")  # the run ended, or a jump began a new visit


class WaitingFor(TextChoices):
    """What a waiting step waits for."""

    RETRY = "retry", _("its next attempt")
    TIMER = "timer", _("a point in time")
    EVENT = "event", _("an event")
    APPROVAL = "approval", _("an approval")
    CHILD = "child", _("a called workflow")
    HANDLER = "handler", _("a worker that knows its type")
    SLOT = "slot", _("a free place under max_parallel")
    ITEMS = "items", _("its items")


FINAL_RUN = frozenset({RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED})
FINAL_STEP = frozenset({StepStatus.DONE, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
LIVE_STEP = frozenset({StepStatus.PENDING, StepStatus.RUNNING, StepStatus.WAITING})
