"""What the signed-in person is asked to approve: each with its form, to answer in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from ..approval_form import APPROVE, ApprovalForm, give_answer, make_form
from ..engine.approvers import why_not
from ..exceptions import NotAllowed, VerbRefused
from ..insight.facts import BIG, BIG_OF_RUN
from ..models import Answer, Approval, StepRun, StepRunQuerySet
from ..status import StepStatus, WaitingFor
from .allowed import check_may_view
from .links import list_url
from .pages import PageAdminMixin, render_page
from .picking import adapt_fields
from .questions import Question, make_question

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Approval]
else:
    ModelAdmin = admin.ModelAdmin

PER_PAGE = 20
# The page of the inbox to come back to.
PAGE = "page"


class ApprovalAdminMixin(PageAdminMixin):
    """What the page of approvals does, for any ``ModelAdmin`` of any site.

    Every member of staff sees what they themselves may answer, and nothing else.
    """

    permission = ""

    def pages(self) -> list[URLPattern]:
        """Return the address of one approval, where it is answered."""
        view = self.admin_site.admin_view(self.answer_view)
        return [path("<uuid:pk>/", view, name="django_workflow_approval_answer")]

    def show(self, request: HttpRequest) -> HttpResponse:
        """Return the page of all approvals, the oldest first."""
        asked = StepRun.objects.approvable_by(request.user)
        page = Paginator(_light(asked).order_by("pk"), PER_PAGE).get_page(request.GET.get(PAGE))
        query = urlencode({PAGE: page.number}) if page.number > 1 else ""
        questions = []
        for row in page:
            form = self._form(request, row, auto_id=f"id_{row.pk.hex}_%s")
            # One page for each, where to show the forms would be to read a table as often.
            questions.append(make_question(self, request, row, None if form.lists_rows() else form, query))
        return self._render(request, _("Approvals"), questions, listed=page)

    def answer_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show one approval; on POST answer it. Raises ``PermissionDenied`` for who may not."""
        check_may_view(self, request)
        row, user = _light(StepRun.objects.all()).filter(pk=pk).first(), _person(request)
        if row is None or "allow_self" not in (row.awaits or {}):
            raise Http404
        if why_not(user, row, row.run):
            raise PermissionDenied
        if not _is_asked(row, user):
            return self._back(request, _say_why_not(row), messages.INFO)
        form = self._form(request, row, data=request.POST if request.method == "POST" else None)
        if request.method == "POST":
            try:
                if give_answer(row, user, form):
                    return self._back(request, _say_done(row, form), messages.SUCCESS)
            except VerbRefused as error:
                return self._refused(request, row, error)
        title = _("Approval: %s") % row.run.workflow.name
        question = make_question(self, request, row, form, _query(request))
        return self._render(request, title, [question], is_alone=True)

    def _form(self, request: HttpRequest, row: StepRun, **options: Any) -> ApprovalForm:
        """Return the form, whose rows are those that the person may view on this site."""
        adapt = partial(adapt_fields, site=self.admin_site, request=request)
        return make_form(row, _person(request), adapt=adapt, **options)

    def _refused(self, request: HttpRequest, row: StepRun, error: VerbRefused) -> HttpResponse:
        """Say who was faster; by now that may be this person, who pressed the button twice."""
        now = _light(StepRun.objects.all()).filter(pk=row.pk).first()
        if now is None:
            return self._back(request, _say_is_over(row), messages.INFO)
        if isinstance(error, NotAllowed) and _is_asked(now, _person(request)):
            raise PermissionDenied
        return self._back(request, _say_why_not(now), messages.INFO)

    def _render(
        self, request: HttpRequest, title: str, questions: list[Question], **context: Any
    ) -> HttpResponse:
        context = {"questions": questions, "inbox_url": list_url(self.admin_site, Approval), **context}
        return render_page(request, self, "approvals.html", title=title, **context)

    def _back(self, request: HttpRequest, text: str, level: int) -> HttpResponse:
        self.message_user(request, text, level)
        query = _query(request)
        inbox = list_url(self.admin_site, Approval)
        return HttpResponseRedirect(f"{inbox}?{query}" if query else inbox)


def _light(rows: StepRunQuerySet) -> StepRunQuerySet:
    """Return the rows with their runs and answers, big columns left out."""
    far = [f"run__{name}" for name in BIG_OF_RUN]
    answers = Prefetch("answers", Answer.objects.order_by("pk").defer("data"))
    return (
        rows.select_related("run__workflow")
        .defer(*(name for name in BIG if name != "item"), *far)
        .prefetch_related(answers)
    )


def _person(request: HttpRequest) -> AbstractBaseUser:
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


def _query(request: HttpRequest) -> str:
    page = request.GET.get(PAGE, "")
    return urlencode({PAGE: page}) if page else ""


def _is_asked(row: StepRun, user: AbstractBaseUser) -> bool:
    is_waiting = (row.status, row.waiting_for) == (StepStatus.WAITING, WaitingFor.APPROVAL)
    return is_waiting and all(answer.by_id != user.pk for answer in row.answers.all())


def _say_why_not(row: StepRun) -> str:
    said = ", ".join(str(answer) for answer in row.answers.all())
    if said:
        return _("%(workflow)s: this has been answered (%(answers)s).") % {
            "workflow": row.run.workflow.name,
            "answers": said,
        }
    return _say_is_over(row)


def _say_is_over(row: StepRun) -> str:
    return _("%s: this is not asked any more.") % row.run.workflow.name


def _say_done(row: StepRun, form: ApprovalForm) -> str:
    text = _("Approved: %s") if form.verdict() == APPROVE else _("Rejected: %s")
    return text % row.run.workflow.name


class ApprovalAdmin(ApprovalAdminMixin, ModelAdmin):
    """The page of approvals on the default site."""
