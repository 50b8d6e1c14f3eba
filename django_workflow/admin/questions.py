"""What is asked of a person, as their inbox shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ..approval_form import ApprovalForm, deadline_of
from ..models import Answer, Approval, Run, StepRun
from .allowed import is_allowed
from .links import row_url
from .read_only import can_see
from .showing import shorten_id, show_line
from .step_runs import SEE_PAYLOAD
from .subject_links import Subject, subject_of

MOST_OF_HEADLINE = 120
MOST_OF_ITEM = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One approval: what is asked, about what, until when, what others said, and the form.

    ``form`` is None where it is shown at ``url`` only.
    """

    row: StepRun
    headline: str
    message: str
    subject: Subject | None
    run_url: str
    item: str
    since: datetime
    deadline: datetime | None
    needed: int
    answers: Sequence[Answer]
    form: ApprovalForm | None
    url: str

    @property
    def approved(self) -> int:
        """How many have said yes."""
        return sum(answer.is_approved for answer in self.answers)

    @property
    def run_id(self) -> str:
        """The beginning of the run's id."""
        return shorten_id(self.row.run_id)

    @property
    def number(self) -> int:
        """The number of the item, from 1."""
        return self.row.index + 1


def make_question(
    page: admin.ModelAdmin[Any], request: HttpRequest, row: StepRun, form: ApprovalForm | None, query: str
) -> Question:
    """Return what the page shows of an approval whose run, workflow and answers were read with it."""
    site, run, awaits = page.admin_site, row.run, row.awaits or {}
    headline, _line, message = str(awaits["message"] or row.step).strip().partition("\n")
    if len(headline) > MOST_OF_HEADLINE:
        headline, message = row.step, awaits["message"]
    url = row_url(site, Approval(pk=row.pk), "answer")
    sees_item = row.index >= 0 and is_allowed(request, SEE_PAYLOAD, run)
    return Question(
        row=row,
        headline=headline,
        message=message,
        subject=subject_of(site, run),
        run_url=row_url(site, run) if can_see(site, Run, request) else "",
        item=show_line(row.item, MOST_OF_ITEM) if sees_item else "",
        since=row.started_at or row.created_at,
        deadline=deadline_of(row),
        needed=awaits["count"],
        answers=list(row.answers.all()),
        form=form,
        url=f"{url}?{query}" if query else url,
    )
