"""What came of an attempt: the result that plan decides by, and all that the recording keeps."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ..context import NO_CHANGES, Hooks, StateChanges
from ..exceptions import PermanentError, RetryAfter, RunTimeout
from ..models import Run
from ..retry import error_names, type_name
from ..storable import clean_text
from .moves import Erred, Result
from .orders import Call

MAX_ERROR = 10_000
MAX_TRACEBACK = 50_000


def _as_it_is(report: Report) -> Report:
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A result, and what is kept of the attempt: encoded values, log lines, progress, traceback."""

    result: Result
    output: Any = None
    changes: StateChanges = NO_CHANGES
    params: dict[str, Any] | None = None
    items: Mapping[int, Any] = field(default_factory=dict)
    lines: Sequence[str] = field(default=())
    progress: dict[str, float] | None = None
    traceback: str = ""
    # What a waiting step waits for, and the run it called.
    awaits: dict[str, Any] | None = None
    child_id: UUID | None = None
    # A run to start with the recording.
    call: Call | None = None
    # Stars, in the report of an error that comes later, what this attempt was given and is in no row.
    conceal: Callable[[Report], Report] = field(default=_as_it_is, compare=False, repr=False)


def report_error(
    error: BaseException,
    params: dict[str, Any] | None = None,
    hooks: Hooks | None = None,
    *,
    action: str | None = None,
) -> Report:
    """Return the report of an attempt that ``error`` ended.

    What the handler wrote to the state is dropped.
    """
    result = Erred(
        type=type_name(type(error)),
        message=clean_text(_text_of(error), MAX_ERROR),
        names=error_names(error),
        permanent=isinstance(error, PermanentError) or action is not None,
        action=action,
        retry_after=error.delay if isinstance(error, RetryAfter) else None,
    )
    text = "".join(traceback.format_exception(error))
    return Report(
        result=result,
        params=params,
        lines=() if hooks is None else hooks.lines,
        progress=None if hooks is None else progress_of(hooks),
        traceback=clean_text(text, MAX_TRACEBACK),
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__qualname__
    except Exception as unprintable:  # __str__ of a handler's own error is code like the handler
        return f"{type(error).__qualname__}, whose text cannot be had: {type(unprintable).__qualname__}"


def overdue(run: Run) -> RunTimeout:
    """Return the error of a run that goes on past its deadline."""
    return RunTimeout(f"the run was not over by its deadline, {run.deadline:%Y-%m-%d %H:%M:%S %Z}")


def progress_of(hooks: Hooks) -> dict[str, float] | None:
    """Return what the handler said of its progress, as it is stored."""
    if hooks.done_of_total is None:
        return None
    done, total = hooks.done_of_total
    return {"done": done, "total": total}
