"""Step runs: one attempt of one step in one run, each a row that a worker claims by a lease."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..exceptions import Rejected
from ..retry import type_name
from ..status import FINAL_STEP, StepStatus, WaitingFor
from ..storable import is_storable_text
from .approvable import User, is_own_question, may_be_answered
from .keys import uuid7
from .row import Row, RowQuerySet
from .run import Run

# Done, or skipped by a person who gave an output.
HAS_OUTPUT = Q(status=StepStatus.DONE) | Q(status=StepStatus.SKIPPED, output__isnull=False)


REFUSED = type_name(Rejected)


# What is not final, as a constraint has it; see ``run.ACTIVE``.
LIVE = Q(finished_at__isnull=True)


class StepRunQuerySet(RowQuerySet["StepRun"]):
    """Named sets of step runs."""

    def live(self) -> StepRunQuerySet:
        """The step runs that are not final."""
        return self.filter(LIVE)

    def current(self) -> StepRunQuerySet:
        """The latest attempt of each step, in its latest visit."""
        return self.filter(current=True)

    def due(self, now: datetime) -> StepRunQuerySet:
        """The step runs to be looked at now: ready ones, timers that are over, leases that have expired."""
        return self.live().filter(due_at__lte=now)

    def passed_over(self) -> StepRunQuerySet:
        """The failures that ``on_error`` met, so that the run went on.

        A refused approval is an answer, and no failure.
        """
        passed = self.current().filter(status=StepStatus.FAILED, handled=True)
        return passed.exclude(error_type=REFUSED)

    def to_retry(self) -> StepRunQuerySet:
        """The step runs that a retry of their run tries again.

        Failed unhandled, or cancelled by its ending.
        """
        return self.filter(Q(status=StepStatus.FAILED, handled=False) | Q(status=StepStatus.CANCELLED))

    def approvable_by(self, user: User) -> StepRunQuerySet:
        """The step runs that wait for an approval which ``user`` may give or refuse, and has not answered.

        The number of queries does not grow with the rows.
        """
        if user.pk is None or not user.is_active:
            return self.none()
        waiting = self.live().filter(waiting_for=WaitingFor.APPROVAL)
        open_to_all = waiting.exclude(answers__by=user.pk)
        own = waiting.filter(is_own_question(user)).values("pk")
        open_to_user = open_to_all.exclude(pk__in=own)
        return open_to_user.filter(may_be_answered(open_to_user, user))

    def latest_for(self, step: str) -> StepRun | None:
        """Return the latest attempt of the step named ``step`` (of the step itself where it has items)."""
        if not is_storable_text(step):
            return None
        return self.filter(step=step, index=-1).order_by("visit", "attempt").last()


class StepRun(Row):
    """One attempt of one step in one run.

    ``due_at`` says when the row is to be looked at next: pending: may start; waiting: its timer or deadline;
    running: its lease's expiry. ``index`` is -1 for the step itself and counts its items from 0.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(
        Run, models.CASCADE, related_name="step_runs", db_index=False, verbose_name=_("run")
    )
    # The name of the step; of the undo of a step, that name and ":undo".
    step = models.CharField(_("step"), max_length=70)
    visit = models.PositiveIntegerField(_("visit"), default=1)
    index = models.IntegerField(_("index"), default=-1)
    item = models.JSONField(_("item"), null=True, blank=True)
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    # The attempt from which the retry policy counts: an operator's retry counts anew.
    counted_from = models.PositiveIntegerField(default=1, editable=False)
    # How often a handler asked for more time by RetryAfter.
    postponed = models.PositiveIntegerField(default=0, editable=False)
    # The run's revision when this visit of the step began: tells whether a jump came before or after it.
    began = models.PositiveBigIntegerField(default=0, editable=False)
    # The run's revision when the result was recorded: the order of all recordings.
    number = models.PositiveBigIntegerField(_("number"), null=True, blank=True)
    current = models.BooleanField(_("current"), default=True)
    status = models.CharField(
        _("status"), max_length=10, choices=StepStatus.choices, default=StepStatus.PENDING
    )
    waiting_for = models.CharField(_("waiting for"), max_length=10, choices=WaitingFor.choices, blank=True)
    queue = models.CharField(_("queue"), max_length=100, blank=True)
    solo = models.BooleanField(_("solo"), default=False)
    params = models.JSONField(_("params"), null=True, blank=True)
    output = models.JSONField(_("output"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_type = models.CharField(_("error type"), max_length=255, blank=True)
    # A failure that on_error met: the run went on.
    handled = models.BooleanField(_("handled"), default=False)
    traceback = models.TextField(_("traceback"), blank=True)
    logs = models.JSONField(_("logs"), null=True, blank=True)
    progress = models.JSONField(_("progress"), null=True, blank=True)
    state_changes = models.JSONField(_("state changes"), null=True, blank=True)
    # Of a step run that was recorded several times: by key, the number of an earlier recording that wrote it.
    written_at = models.JSONField(null=True, blank=True, editable=False)
    # What woke the handler: name, payload and at; kept until the step is recorded.
    event = models.JSONField(_("event"), null=True, blank=True)
    # What a waiting step waits for: the names of events, or who may answer and how; and its deadline.
    awaits = models.JSONField(_("awaits"), null=True, blank=True)
    # The run that the step called.
    child = models.ForeignKey(
        Run, models.SET_NULL, null=True, related_name="callers", db_index=False, verbose_name=_("called run")
    )
    due_at = models.DateTimeField(_("due at"), null=True, blank=True)
    lease_token = models.UUIDField(_("lease token"), null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    worker = models.CharField(_("worker"), max_length=255, blank=True)
    job_id = models.CharField(_("job id"), max_length=100, blank=True)
    crashes = models.PositiveIntegerField(_("crashes"), default=0)
    undoes = models.ForeignKey(
        "self", models.SET_NULL, null=True, related_name="undone_by", db_index=False, verbose_name=_("undoes")
    )
    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = StepRunQuerySet.as_manager()  # type: ignore[misc]  # instead of that of Row

    class Meta:
        verbose_name = _("step run")
        verbose_name_plural = _("step runs")
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                name="workflow_step_run_known_status", condition=Q(status__in=StepStatus.values)
            ),
            models.CheckConstraint(
                name="workflow_step_run_finished_when_final",
                condition=Q(status__in=FINAL_STEP, finished_at__isnull=False)
                | (~Q(status__in=FINAL_STEP) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="workflow_step_run_waits_for_something",
                condition=Q(status=StepStatus.WAITING, waiting_for__in=WaitingFor.values)
                | (~Q(status=StepStatus.WAITING) & Q(waiting_for="")),
            ),
            models.CheckConstraint(
                name="workflow_step_run_leased_when_running",
                condition=Q(status=StepStatus.RUNNING, lease_token__isnull=False, due_at__isnull=False)
                | (~Q(status=StepStatus.RUNNING) & Q(lease_token__isnull=True)),
            ),
            models.CheckConstraint(
                name="workflow_step_run_counts",
                condition=Q(index__gte=-1, visit__gte=1, attempt__gte=1),
            ),
            models.UniqueConstraint(
                fields=("run", "step", "visit", "index", "attempt"), name="workflow_step_run_unique"
            ),
        )
        indexes = (
            models.Index(fields=("queue", "due_at"), name="workflow_step_run_due", condition=LIVE),
            models.Index(fields=("run",), name="workflow_step_run_live", condition=LIVE),
            models.Index(fields=("child",), name="workflow_step_run_calls", condition=Q(child__isnull=False)),
            models.Index(
                fields=("child",),
                name="workflow_step_run_to_wake",
                condition=LIVE & Q(child__isnull=False),
            ),
            models.Index(
                fields=("run",),
                name="workflow_step_run_to_answer",
                condition=LIVE & Q(waiting_for="approval"),
            ),
            # The runs that a step of this name has failed in.
            models.Index(
                fields=("step", "run"),
                name="workflow_step_run_failed",
                condition=Q(status=StepStatus.FAILED, current=True),
            ),
            # The failures that runs went on after, of one run and lately.
            models.Index(fields=("run",), name="workflow_step_run_passed", condition=Q(handled=True)),
            models.Index(
                fields=("finished_at",), name="workflow_step_run_passed_at", condition=Q(handled=True)
            ),
            models.Index(
                fields=("undoes",), name="workflow_step_run_undone", condition=Q(undoes__isnull=False)
            ),
        )

    def __str__(self) -> str:
        item = "" if self.index < 0 else f"[{self.index}]"
        return f"{self.step}{item}"
