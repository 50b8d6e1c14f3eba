"""Dynamic, durable, multi-step workflows for Django.

The names below are the public API. Those that need models are imported on first use (PEP 562), so that
importing ``step`` from anywhere, at any time, is safe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .context import StepContext
from .exceptions import (
    DefinitionError,
    DeletedReference,
    ExpressionError,
    Failed,
    Interrupted,
    LeaseLost,
    MaxVisitsExceeded,
    NotStorable,
    OutcomeError,
    OwnershipError,
    ParamsError,
    PermanentError,
    Poisoned,
    RegistrationError,
    RetryAfter,
    RunTimeout,
    StepTimeout,
    TooLarge,
    VerbRefused,
    WorkflowError,
    WorkflowNotFound,
)
from .outcomes import End, Goto, Sleep
from .params import Condition, Secret, StepName
from .registry import step
from .retry import Retry

if TYPE_CHECKING:
    from .api import cancel_run, define, retry_run, trigger, trigger_many

_LAZY = frozenset({"cancel_run", "define", "retry_run", "trigger", "trigger_many"})

__all__ = [
    "Condition",
    "DefinitionError",
    "DeletedReference",
    "End",
    "ExpressionError",
    "Failed",
    "Goto",
    "Interrupted",
    "LeaseLost",
    "MaxVisitsExceeded",
    "NotStorable",
    "OutcomeError",
    "OwnershipError",
    "ParamsError",
    "PermanentError",
    "Poisoned",
    "RegistrationError",
    "Retry",
    "RetryAfter",
    "RunTimeout",
    "Secret",
    "Sleep",
    "StepContext",
    "StepName",
    "StepTimeout",
    "TooLarge",
    "VerbRefused",
    "WorkflowError",
    "WorkflowNotFound",
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
