"""One verb for all runs of a filtered list: counted first, then done in the background."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connections, router
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from ..conf import get_settings
from ..engine.bulk import SLICE, advance, start_bulk
from ..engine.bulk_verbs import BULK_VERBS
from ..engine.now import database_now
from ..engine.run_filters import RunFilters, select_runs
from ..engine.run_filters import read_filters as read_stored
from ..exceptions import NotStorable
from ..insight.filters_in_words import describe_filters
from ..models import BulkAction, Run
from ..models.row import count_up_to
from ..status import RunStatus
from .allowed import check_may_view, is_allowed
from .bulk_page import show_title
from .confirming import ask
from .links import list_url, row_url
from .pages import render_page
from .read_only import MOST_COUNTED, can_see, show_count
from .run_list import READERS, read_filters
from .verb_forms import VerbForm
from .verbs import BY_NAME, VERBS, RunVerb

FILTERS = "filters"
SALT = "django_workflow.bulk"
# Words of a list's address that say how it is shown, and not what.
IGNORED = ("o", "p", "all", "e", "_facets", "_popup", "_to_field", "_changelist_filters")


def show_verbs(page: admin.ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Return the page that says for how many runs of the list each verb is. Raises ``PermissionDenied``."""
    check_may_view(page, request)
    _check_is_whole(page, request)
    using = router.db_for_write(Run)
    filters = read_filters(request.GET, database_now(using))
    counts = _count(using, filters, RunStatus.values)
    total, verbs = sum(counts.values()), []
    for verb in VERBS:
        if is_allowed(request, verb.permission):
            count = sum(counts[status] for status in _statuses(verb, filters))
            url = f"{_url(page, verb)}?{request.GET.urlencode()}"
            verbs.append({"verb": verb, "count": count, "shown_count": show_count(count), "url": url})
    context = {
        "facts": describe_filters(filters),
        "total": total,
        "shown_total": show_count(total),
        "verbs": verbs,
        "back": f"{list_url(page.admin_site, Run)}?{request.GET.urlencode()}",
    }
    return render_page(request, page, "bulk.html", title=_("Bulk action"), **context)


def ask_for_bulk(page: admin.ModelAdmin[Any], request: HttpRequest, name: str) -> HttpResponse:
    """Ask with the number of runs on GET; on POST start the bulk action. Raises ``PermissionDenied``."""
    verb = BY_NAME.get(name)
    if verb is None:
        raise Http404
    check_may_view(page, request)
    if not is_allowed(request, verb.permission):
        raise PermissionDenied
    _check_is_whole(page, request)
    using = router.db_for_write(Run)
    filters = _filters(verb, request, using)
    back = f"{list_url(page.admin_site, Run)}?{request.GET.urlencode()}"
    count = sum(_count(using, filters, filters.status).values())
    if not count:
        page.message_user(request, _("%s: none of these runs allows it now.") % verb.label, messages.INFO)
        return HttpResponseRedirect(back)
    form = verb.bulk_form(request.POST if request.method == "POST" else None)
    bulk = _start(verb, filters, form, request, using) if request.method == "POST" else None
    if bulk is not None:
        return _show_started(page, request, bulk, back)
    title = show_title(verb.name, count, shown=show_count(count))
    stored = {FILTERS: signing.dumps(filters.as_json(), salt=SALT)}
    facts = describe_filters(filters)
    return ask(request, page, title, verb.text, facts=facts, back=back, form=form, hidden=stored)


def _show_started(
    page: admin.ModelAdmin[Any], request: HttpRequest, bulk: BulkAction, back: str
) -> HttpResponse:
    """Go to the bulk action's page; where this site or person has none, say that it is under way."""
    if can_see(page.admin_site, BulkAction, request):
        return HttpResponseRedirect(row_url(page.admin_site, bulk))
    page.message_user(request, show_title(bulk.verb, bulk.total), messages.SUCCESS)
    return HttpResponseRedirect(back)


def _check_is_whole(page: admin.ModelAdmin[Any], request: HttpRequest) -> None:
    """See to it that the filters say all that makes the list what it is.

    Raises ``BadRequest`` for a word of the address that they do not know, and ``PermissionDenied`` on a page
    that shows only some runs, because a bulk action knows nothing of that.
    """
    unknown = sorted(set(request.GET) - {*READERS, *IGNORED})
    if unknown:
        raise BadRequest(f"{unknown[0]!r} is no filter of the list of runs")
    if page.get_queryset(request).query.where:
        raise PermissionDenied(_("This page shows only some of the runs: bulk actions are for all."))


def _filters(verb: RunVerb, request: HttpRequest, using: str) -> RunFilters:
    """Return which runs it is for: as the page that asked had them, so that no later run slips in."""
    if request.method == "POST" and FILTERS in request.POST:
        try:
            return read_stored(signing.loads(request.POST[FILTERS], salt=SALT))
        except signing.BadSignature as error:
            raise BadRequest(f"{FILTERS}: {error}") from error
    filters = read_filters(request.GET, database_now(using))
    return replace(filters, status=_statuses(verb, filters))


def _statuses(verb: RunVerb, filters: RunFilters) -> tuple[str, ...]:
    allowed = [status.value for status in BULK_VERBS[verb.name].statuses]
    asked = filters.status or RunStatus.values
    if filters.is_unresolved:
        asked = [RunStatus.FAILED.value]
    return tuple(status for status in allowed if status in asked)


def _count(using: str, filters: RunFilters, statuses: Iterable[str]) -> Mapping[str, int]:
    """Return how many runs fit in each status; of each no more are counted than the list counts."""
    runs = select_runs(using, filters).order_by("-pk")
    return {status: count_up_to(runs.filter(status=status), MOST_COUNTED) for status in statuses}


def _start(
    verb: RunVerb, filters: RunFilters, form: VerbForm, request: HttpRequest, using: str
) -> BulkAction | None:
    """Start the bulk action that a form asks for; None where the form does not fit, which it then shows."""
    if not form.is_valid():
        return None
    note, arguments, user = form.cleaned_data["note"], form.arguments(), request.user
    try:
        bulk = start_bulk(verb.name, filters, by=user, note=note, arguments=arguments, using=using)  # type: ignore[arg-type]
    except (NotStorable, ValueError) as error:
        form.add_error(None, str(error))
        return None
    _go_on_here(using, bulk)
    return bulk


def _go_on_here(using: str, bulk: BulkAction) -> None:
    """Begin with it at once where there are no workers; the clock does the rest."""
    if get_settings().QUEUE is None and not connections[using].in_atomic_block:
        advance(using, bulk.pk, seconds=SLICE)


def _url(page: admin.ModelAdmin[Any], verb: RunVerb) -> str:
    name = "admin:django_workflow_run_bulk"
    return reverse(name, args=[verb.name], current_app=page.admin_site.name)
