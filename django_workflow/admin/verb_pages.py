"""The pages of verbs: what will happen is said first, then it is done by POST, to one run or to a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ..engine.bulk_verbs import BULK_VERBS
from ..engine.now import database_now
from ..exceptions import NotStorable, ParamsError, VerbRefused
from ..insight.facts import read_facts
from ..insight.possible import why_not
from ..models import Run
from ..status import RunStatus
from .allowed import is_allowed
from .confirming import CONFIRMED, NoteForm, ask
from .links import list_url, row_url
from .named_rows import refuse_unseen
from .step_runs import SEE_PAYLOAD
from .verbs import RunVerb

# Each run is a transaction of this request, and without a queue its steps run in it.
MOST = 100


def show_verb(
    verb: RunVerb, page: admin.ModelAdmin[Any], request: HttpRequest, object_id: str
) -> HttpResponse:
    """Ask on GET; on POST apply the verb to the run and go back to it. Raises ``PermissionDenied``."""
    run = page.get_object(request, unquote(object_id))
    if not (page.has_view_permission(request, run) and is_allowed(request, verb.permission, run)):
        raise PermissionDenied
    if run is None:
        raise Http404
    back = row_url(page.admin_site, run)
    facts = read_facts(run, database_now(run._state.db or "default"))
    reason = why_not(verb.name, facts)
    if reason:
        page.message_user(request, f"{verb.label}: {reason}", messages.ERROR)
        return HttpResponseRedirect(back)
    form = verb.form(request.POST if request.method == "POST" else None)
    form.fill(facts, sees_payload=is_allowed(request, SEE_PAYLOAD, run))
    if request.method == "POST" and form.is_valid():
        problems = list(refuse_unseen(form.rows(facts), page.admin_site, request))
        if not problems:
            problems = apply(verb, page, request, run, form.cleaned_data["note"], form.arguments())
        if not problems:
            return HttpResponseRedirect(back)
        _show(problems, form)
    return ask(request, page, verb.label, verb.text, rows=[run], back=back, form=form)


def apply_to_list(
    verb: RunVerb, page: admin.ModelAdmin[Any], request: HttpRequest, runs: QuerySet[Run]
) -> HttpResponse | None:
    """Ask; when confirmed apply the verb to each of a few runs. Raises ``PermissionDenied``."""
    chosen = list(runs.select_related("workflow")[: MOST + 1])
    if len(chosen) > MOST:
        text = _("At most %s runs at once here: “Bulk action” does any number of them, in the background.")
        page.message_user(request, text % MOST, messages.ERROR)
        return None
    if not all(is_allowed(request, verb.permission, run) for run in chosen):
        raise PermissionDenied
    form = verb.bulk_form(request.POST if CONFIRMED in request.POST else None)
    if CONFIRMED in request.POST and form.is_valid():
        note, arguments = form.cleaned_data["note"], form.arguments()
        for run in chosen:
            for problem in apply(verb, page, request, run, note, arguments):
                page.message_user(request, f"{run}: {problem}", messages.ERROR)
        return None
    action = f"{verb.name}_selected"
    back = list_url(page.admin_site, Run)
    return ask(request, page, verb.label, verb.text, rows=chosen, back=back, action=action, form=form)


def apply(
    verb: RunVerb,
    page: admin.ModelAdmin[Any],
    request: HttpRequest,
    run: Run,
    note: str,
    arguments: Mapping[str, Any],
) -> list[str]:
    """Do the verb and say what became of it; return what is wrong with the arguments, if that is why not."""
    try:
        changed = verb.act(run, request.user, note, arguments)  # type: ignore[arg-type]
    except VerbRefused as refused:
        page.message_user(request, str(refused), messages.ERROR)
        return []
    except ParamsError as error:
        # What was stored does not become visible by not fitting any more.
        is_own = "input" in arguments or is_allowed(request, SEE_PAYLOAD, run)
        return _say_what_does_not_fit(error, is_own=is_own)
    except (NotStorable, ValueError) as error:
        return [str(error)]
    page.log_change(request, run, f"{verb.label}: {note}" if note else str(verb.label))
    link = format_html('<a href="{}">{}</a>', row_url(page.admin_site, changed), changed)
    done, but = format_html(str(verb.done).replace("%s", "{}"), link), _say_what_came(verb, changed)
    level = messages.WARNING if but else messages.SUCCESS
    page.message_user(request, format_html("{} {}", done, but) if but else done, level)
    return []


def _say_what_came(verb: RunVerb, run: Run) -> str:
    """Return a sentence about a run that ended otherwise than the verb intends; empty if it did not."""
    run.refresh_from_db(using=run._state.db, fields=["status", "ending", "step"])
    if verb.name == "cancel" and run.ending not in ("", RunStatus.CANCELLED):
        return _("It was ending as %s before, and still does.") % RunStatus(run.ending).label
    if BULK_VERBS[verb.name].goes_on and run.status == RunStatus.FAILED:
        return _("But it has failed, at the step “%s”.") % run.step
    return ""


def _say_what_does_not_fit(error: ParamsError, *, is_own: bool) -> list[str]:
    if is_own:
        return [f"{name}: {text}" for name, many in error.problems.items() for text in many]
    return [_("%s: does not fit.") % name for name in error.problems]


def _show(problems: Sequence[str], form: NoteForm) -> None:
    field = next((name for name in ("input", "output", "payload") if name in form.fields), None)
    for text in problems:
        form.add_error(field, text)
