"""Stand-ins: what steps give in a test instead of calling their handlers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..context import StepContext
from ..outcomes import Sleep, WaitForEvent

# Of the thread, and of what it calls in an event loop: another test may run in another thread.
_outputs: ContextVar[Mapping[str, Any] | None] = ContextVar("_outputs", default=None)


@contextmanager
def standing_in(outputs: Mapping[str, Any]) -> Iterator[None]:
    """Let ``outputs``, by step name, stand in for handlers in the body."""
    token = _outputs.set(outputs)
    try:
        yield
    finally:
        _outputs.reset(token)


def has_stand_in(step: str) -> bool:
    """Whether something stands in for the handler of the step named ``step``."""
    return step in (_outputs.get() or ())


def answer(context: StepContext) -> Any:
    """Return the outcome of what stands in for the step, or raise it where it is an error.

    A callable is called with ``context`` each time. A ``Sleep`` or ``WaitForEvent`` waits once; what woke the
    step gives its output.
    """
    given = (_outputs.get() or {})[context.step]
    if isinstance(given, (Sleep, WaitForEvent)) and context.event is not None:
        return context.event.payload
    outcome = given(context) if callable(given) and not _is_error_class(given) else given
    if _is_error_class(outcome):
        raise outcome
    if isinstance(outcome, BaseException):
        # One that is raised many times would show a longer traceback each time.
        raise outcome.with_traceback(None)
    return outcome


def _is_error_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
