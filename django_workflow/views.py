"""The page behind a signed link, where an approval is answered. Opening it decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from .approval_form import deadline_of, give_answer, make_form
from .asking import user_rows
from .engine.approvers import why_not
from .engine.now import database_now
from .exceptions import VerbRefused
from .links import ApprovalLink, is_too_old, mark_of, read_token
from .models import StepRun
from .status import StepStatus, WaitingFor

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}
View = Callable[[HttpRequest, str], HttpResponse]


def _private(view: View) -> View:
    @wraps(view)
    def answer(request: HttpRequest, token: str) -> HttpResponse:
        response = view(request, token)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@xframe_options_deny
@csrf_protect
@_private
def answer_approval(request: HttpRequest, token: str) -> HttpResponse:
    """Show what is asked; only a POST decides. What is over is shown too: who answered, and when."""
    try:
        link = read_token(token)
    except BadSignature:
        return _say(
            request, _("This link is not valid. It may have been cut off: open it from the mail."), 404
        )
    user = _find_user(request, link)
    if link.user is None and user is None:
        return redirect_to_login(request.get_full_path())
    row = _find_row(link)
    if row is None or user is None:
        return _say(request, _("What was asked here is not there any more."), 404)
    if link.user is None and row.awaits is not None and why_not(user, row, row.run):
        return _say(request, _("You may not answer this."), 403)
    answered = row.answers.filter(by=user.pk).exists()
    if answered or (row.status, row.waiting_for) != (StepStatus.WAITING, WaitingFor.APPROVAL):
        return _say_what_happened(request, row)
    if _is_over(row, token, database_now(link.using)):
        return _say(request, _("This link has expired."), 410)
    if why_not(user, row, row.run):
        return _say(request, _("You may not answer this."), 403)
    return _ask(request, row, user)


def _find_user(request: HttpRequest, link: ApprovalLink) -> AbstractBaseUser | None:
    if link.user is None:
        user = getattr(request, "user", None)  # which a project without sessions does not set
        return user if isinstance(user, AbstractBaseUser) else None
    user = user_rows().filter(pk=link.user).first()
    return None if user is None or link.mark not in ("", mark_of(user)) else user


def _find_row(link: ApprovalLink) -> StepRun | None:
    if link.using not in settings.DATABASES:
        return None
    rows = StepRun.objects.using(link.using).select_related("run__workflow")
    return rows.filter(pk=link.step_run_id).first()


def _is_over(row: StepRun, token: str, now: datetime) -> bool:
    until = deadline_of(row)
    return is_too_old(token) if until is None else until <= now


def _ask(request: HttpRequest, row: StepRun, user: AbstractBaseUser) -> HttpResponse:
    form = make_form(row, user, request.POST or None)
    if request.method == "POST":
        try:
            is_done = give_answer(row, user, form)
        except VerbRefused:
            is_done = True  # Somebody was faster: the page says so.
        if is_done:
            return HttpResponseRedirect(request.get_full_path())
    values = {
        "message": (row.awaits or {})["message"],
        "workflow": row.run.workflow,
        "step": row.step,
        "deadline": deadline_of(row),
        "answerer": user,
        "form": form,
    }
    return render(request, "django_workflow/approval.html", values)


def _say_what_happened(request: HttpRequest, row: StepRun) -> HttpResponse:
    answers = list(row.answers.order_by("pk"))
    if answers:
        return _say(request, _("This has been answered."), 200, workflow=row.run.workflow, answers=answers)
    return _say(request, _("This is not asked any more: nobody answered in time, or the run has ended."), 410)


def _say(request: HttpRequest, text: str, status: int, **values: Any) -> HttpResponse:
    return render(request, "django_workflow/approval_over.html", {"text": text, **values}, status=status)
