"""Secrets never enter rows: wherever a handler lets one slip, it is starred.

Errors, tracebacks and log lines do not quote what is hidden either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..params.hidden import STARS, forms_of, hidden_texts, star
from ..registry import Handler
from .moves import Erred
from .report import Report


def secrets_of(handler: Handler, arguments: dict[str, object]) -> list[str]:
    """Return the values that the handler was given for what is annotated ``Secret``, longest first."""
    return forms_of(
        text for param in handler.params for text in param.kind.secrets(arguments.get(param.python_name))
    )


def hidden_from(handler: Handler, params: dict[str, Any], *around: Any) -> list[str]:
    """Return the texts under hidden keys of a step's ``params`` and of what is ``around`` it, longest first.

    The name of a secret is none of them.
    """
    names = {text for param in handler.params for text in param.kind.secrets(params.get(param.name))}
    return forms_of(text for text in hidden_texts([params, *around]) if text not in names)


def conceal(report: Report, secrets: Sequence[str]) -> Report:
    """Return ``report`` without ``secrets`` in whatever of it is kept."""
    if not secrets:
        return report
    written = report.changes.written
    return replace(
        conceal_texts(report, secrets),
        output=_star(report.output, secrets),
        changes=replace(report.changes, written=_star(written, secrets)) if written else report.changes,
        progress=conceal_progress(report.progress, secrets),
    )


def conceal_progress(progress: dict[str, float] | None, secrets: Sequence[str]) -> dict[str, float] | None:
    """Return ``progress``; None where one of its numbers is a secret."""
    is_told = any(_is_secret(number, secrets) for number in (progress or {}).values())
    return None if is_told else progress


def conceal_texts(report: Report, hidden: Sequence[str]) -> Report:
    """Return ``report`` without ``hidden`` in its texts for people."""
    if not hidden:
        return report
    result = report.result
    if isinstance(result, Erred):
        result = replace(result, message=star(result.message, hidden))
    lines = [star(line, hidden) for line in report.lines]
    return replace(report, result=result, lines=lines, traceback=star(report.traceback, hidden))


def _star(value: Any, secrets: Sequence[str]) -> Any:
    """Return data without ``secrets``; what only begins like one of them stays as it is."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, STARS)
        return value
    if isinstance(value, dict):
        return {_star(key, secrets): _star(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_star(item, secrets) for item in value]
    return STARS if _is_secret(value, secrets) else value


def _is_secret(value: object, secrets: Sequence[str]) -> bool:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return isinstance(value, (int, float)) and str(value) in secrets
