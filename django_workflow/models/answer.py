"""Answers: what each person said to a step that waits for an approval."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .row import Row
from .step_run import StepRun
from .users import UserKey, forget


class Answer(Row):
    """One person's answer to one approval. Nobody answers twice, by a constraint."""

    step_run = models.ForeignKey(
        StepRun, models.CASCADE, related_name="answers", db_index=False, verbose_name=_("step run")
    )
    by = UserKey(
        settings.AUTH_USER_MODEL,
        forget,
        null=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("by"),
    )
    # The name at that time: it stays when the user is gone.
    name = models.CharField(_("name"), max_length=255)
    is_approved = models.BooleanField(_("is approved"))
    note = models.TextField(_("note"), blank=True)
    data = models.JSONField(_("data"), null=True, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("step_run", "by"), name="workflow_answer_once_each"),)

    def __str__(self) -> str:
        verdict = _("approved") if self.is_approved else _("rejected")
        return f"{self.name}: {verdict}"
