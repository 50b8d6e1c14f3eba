"""Cancel and retry from the admin: asked first, done by POST, for one run or for a few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..api import cancel_run, retry_run
from ..exceptions import VerbRefused
from ..models import Run
from ..status import RunStatus
from .allowed import is_allowed
from .confirming import CONFIRMED, ask, read_note
from .links import list_url, row_url

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

CONTROL = "control_run"
# Each run is a transaction of this request, and without a queue its steps run in it.
MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerb:
    """One verb: its name in addresses, its words, and the public function that does it."""

    name: str
    title: _StrPromise
    text: _StrPromise
    done: _StrPromise
    apply: Callable[..., Run]
    is_offered: Callable[[Run], bool]


CANCEL = RunVerb(
    name="cancel",
    title=gettext_lazy("Cancel run"),
    text=gettext_lazy(
        "The run ends as cancelled: what waits is cancelled at once, what runs is told and awaited. "
        "What was done is not undone."
    ),
    done=gettext_lazy("Cancelled: %s"),
    apply=cancel_run,
    is_offered=lambda run: not run.is_final,
)
RETRY = RunVerb(
    name="retry",
    title=gettext_lazy("Retry run"),
    text=gettext_lazy(
        "The run goes on from its failed steps, on the version it was started with. The outputs of the "
        "other steps are kept."
    ),
    done=gettext_lazy("Retried: %s"),
    apply=retry_run,
    is_offered=lambda run: run.status == RunStatus.FAILED,
)
VERBS = (CANCEL, RETRY)


def apply_to_page(
    verb: RunVerb, page: admin.ModelAdmin[Any], request: HttpRequest, object_id: str
) -> HttpResponse:
    """Ask on GET; on POST apply the verb to the run and go back to it. Raises ``PermissionDenied``."""
    run = page.get_object(request, unquote(object_id))
    if not (page.has_view_permission(request, run) and is_allowed(request, CONTROL, run)):
        raise PermissionDenied
    if run is None:
        raise Http404
    back = row_url(page.admin_site, run)
    if request.method != "POST":
        return ask(request, page, verb.title, verb.text, rows=[run], back=back)
    _apply(verb, page, request, run, read_note(request))
    return HttpResponseRedirect(back)


def apply_to_list(
    verb: RunVerb, page: admin.ModelAdmin[Any], request: HttpRequest, runs: QuerySet[Run]
) -> HttpResponse | None:
    """Ask; when confirmed apply the verb to each of a few runs. Raises ``PermissionDenied``."""
    chosen = list(runs[: MOST + 1])
    if len(chosen) > MOST:
        text = _("At most %s runs at once here: manage.py workflow_runs does any number.")
        page.message_user(request, text % MOST, messages.ERROR)
        return None
    if not all(is_allowed(request, CONTROL, run) for run in chosen):
        raise PermissionDenied
    if CONFIRMED not in request.POST:
        back = list_url(page.admin_site, Run)
        return ask(
            request, page, verb.title, verb.text, rows=chosen, back=back, action=f"{verb.name}_selected"
        )
    for run in chosen:
        _apply(verb, page, request, run, read_note(request))
    return None


def _apply(verb: RunVerb, page: admin.ModelAdmin[Any], request: HttpRequest, run: Run, note: str) -> None:
    try:
        verb.apply(run, by=request.user, note=note)
    except VerbRefused as refused:
        page.message_user(request, str(refused), messages.ERROR)
        return
    page.log_change(request, run, f"{verb.title}: {note}" if note else str(verb.title))
    page.message_user(request, str(verb.done) % run, messages.SUCCESS)
