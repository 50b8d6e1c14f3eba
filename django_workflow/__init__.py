"""Dynamic, durable, multi-step workflows for Django.

The names below are the public API. Those that need models are imported on first use (PEP 562), so that
importing ``step`` from anywhere, at any time, is safe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .context import StepContext
from .exceptions import PermanentError, RetryAfter, WorkflowError
from .outcomes import End, Goto, Sleep
from .params import Condition, Secret, StepName
from .registry import step
from .retry import Retry

if TYPE_CHECKING:
    from .api import cancel_run, define, retry_run, trigger, trigger_many

_LAZY = frozenset({"cancel_run", "define", "retry_run", "trigger", "trigger_many"})

__all__ = [
    "Condition",
    "End",
    "Goto",
    "PermanentError",
    "Retry",
    "RetryAfter",
    "Secret",
    "Sleep",
    "StepContext",
    "StepName",
    "WorkflowError",
    "cancel_run",
    "define",
    "retry_run",
    "step",
    "trigger",
    "trigger_many",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
