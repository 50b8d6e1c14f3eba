"""A Content Security Policy for Django 5.2, which has no middleware for one."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

View = Callable[[HttpRequest], HttpResponse]


def add_policy(get_response: View) -> View:
    """Allow what comes from the site itself, and nothing that stands in a page."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    return answer
