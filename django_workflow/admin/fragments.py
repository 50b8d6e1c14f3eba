"""Parts of pages that the script asks for again and again: cheap while nothing has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseNotModified
from django.utils.http import quote_etag
from django.utils.translation import get_language

from ..conf import get_settings
from .allowed import is_allowed

# What a part shows or offers depends on these.
RIGHTS = ("view_run", "view_run_payload", "control_run", "override_run")
FINAL_HEADER = "X-Workflow-Final"


def make_etag(request: HttpRequest, *facts: object) -> str:
    """Return what changes whenever the part would say something else: by ``facts``, person and language, and
    by what the person may do and see."""
    rights = [is_allowed(request, permission) for permission in RIGHTS]
    asked = (*facts, *rights, request.session.get(SESSION_KEY), get_language())
    return quote_etag(hashlib.sha256(repr(asked).encode()).hexdigest()[:32])


def poll_after(*, is_final: bool) -> int | None:
    """Return after how many milliseconds the script asks again; None for never."""
    poll = get_settings().POLL
    return None if poll is None or is_final else round(poll.total_seconds() * 1000)


def answer_fragment(
    request: HttpRequest, etag: str, *, may_view: bool, is_final: bool, render: Callable[[], str]
) -> HttpResponse:
    """Return the part, 304 where the asker has it as it is, or 403 where they may not see it now.

    ``render`` returns the part, and is called only for what has changed.
    """
    if not may_view:
        return HttpResponseForbidden()
    # What compresses on the way calls a tag weak.
    known = request.headers.get("If-None-Match", "").removeprefix("W/")
    response = HttpResponseNotModified() if known == etag else HttpResponse(render())
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    if is_final:
        response.headers[FINAL_HEADER] = "1"
    return response
