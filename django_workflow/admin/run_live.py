"""The part of a run's page that is looked at again and again: cheap while nothing has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from django.contrib.auth import SESSION_KEY
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseNotModified
from django.utils import timezone
from django.utils.http import quote_etag
from django.utils.translation import get_language

from ..models import Run, StepRun
from ..status import FINAL_RUN

FINAL_HEADER = "X-Workflow-Final"
LATE = timedelta(seconds=5)
COLUMNS = ("revision", "status", "is_late", "is_replaced")


def marks() -> dict[str, Exists]:
    """Return what is read with a run, beside its revision, to know whether its page would say something else.

    Every change of a run raises its revision; beside it there is only the time that goes by, and what came
    in its place.
    """
    late = StepRun.objects.live().filter(run=OuterRef("pk"), due_at__lt=timezone.now() - LATE)
    return {"is_late": Exists(late), "is_replaced": Exists(Run.objects.filter(restarted_from=OuterRef("pk")))}


def etag_of(request: HttpRequest, run: Mapping[str, object]) -> str:
    """Return what changes whenever the page would say something else; ``run`` has :data:`COLUMNS`."""
    facts = [run[name] for name in COLUMNS]
    asked = (*facts, request.GET.get("open"), request.session.get(SESSION_KEY), get_language())
    return str(quote_etag(hashlib.sha256(repr(asked).encode()).hexdigest()[:32]))


def answer_live(
    request: HttpRequest, run_id: UUID, *, render: Callable[[Run], str], find: Callable[[], Run | None]
) -> HttpResponse:
    """Return the part, or 304 where the asker has it as it is.

    Who asks again from the same session was allowed to see what they have; ``find`` returns the run where the
    user may see it now, and is asked only for what has changed.
    """
    found = Run.objects.filter(pk=run_id).annotate(**marks()).values(*COLUMNS).first()
    etag = "" if found is None else etag_of(request, found)
    is_known = SESSION_KEY in request.session and etag and request.headers.get("If-None-Match") == etag
    if is_known:
        return _with_headers(HttpResponseNotModified(), etag)
    run = find()
    if run is None:
        return HttpResponseForbidden()
    response = _with_headers(HttpResponse(render(run)), etag)
    if run.status in FINAL_RUN:
        response.headers[FINAL_HEADER] = "1"
    return response


def _with_headers(response: HttpResponse, etag: str) -> HttpResponse:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    return response
