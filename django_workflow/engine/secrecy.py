"""Secrets never enter rows: what a handler's error, traceback or log lines say of one is starred."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from ..registry import Handler
from .moves import Erred
from .report import Report

STARS = "********"
# What is shorter stands in too many words, and is no secret.
SHORTEST = 4


def secrets_of(handler: Handler, arguments: dict[str, object]) -> list[str]:
    """Return the values that the handler was given for its params annotated ``Secret``, longest first."""
    names = [param.python_name for param in handler.params if param.marker == "secret"]
    values = {str(arguments[name]) for name in names if arguments.get(name)}
    # As it stands in a repr or in JSON, too.
    values |= {form for value in values for form in (repr(value)[1:-1], json.dumps(value)[1:-1])}
    return sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)


def conceal(report: Report, secrets: Sequence[str]) -> Report:
    """Return ``report`` without ``secrets`` in its texts for people."""
    if not secrets:
        return report
    result = report.result
    if isinstance(result, Erred):
        result = replace(result, message=star(result.message, secrets))
    lines = [star(line, secrets) for line in report.lines]
    return replace(report, result=result, lines=lines, traceback=star(report.traceback, secrets))


def star(text: str, secrets: Sequence[str]) -> str:
    """Return ``text`` without ``secrets``."""
    for secret in secrets:
        text = text.replace(secret, STARS)
    return text
