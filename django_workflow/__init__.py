"""Dynamic, durable, multi-step workflows for Django.

The names below are the public API. Those that need models are imported on first use (PEP 562), so that
importing ``step`` from anywhere, at any time, is safe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .context import StepContext
from .exceptions import (
    ChildFailed,
    DefinitionError,
    DeletedReference,
    ExpressionError,
    Failed,
    Interrupted,
    LeaseLost,
    MaxVisitsExceeded,
    NotAllowed,
    NotStorable,
    OutcomeError,
    OwnershipError,
    ParamsError,
    PermanentError,
    Poisoned,
    RegistrationError,
    Rejected,
    RetryAfter,
    RunTimeout,
    StepTimeout,
    TooDeep,
    TooLarge,
    VerbRefused,
    WaitTimeout,
    WorkflowError,
    WorkflowNotFound,
)
from .outcomes import End, Goto, Sleep, WaitForEvent
from .params import Condition, Secret, StepName
from .registry import step
from .retry import Retry

if TYPE_CHECKING:
    from .api import (
        approve,
        cancel_run,
        define,
        dry_run,
        pause_run,
        reject,
        restart_run,
        resume_run,
        retry_run,
        send_event,
        skip_step,
        trigger,
        trigger_many,
        undo_run,
    )

_LAZY = frozenset(
    {
        "approve",
        "cancel_run",
        "define",
        "dry_run",
        "pause_run",
        "reject",
        "restart_run",
        "resume_run",
        "retry_run",
        "send_event",
        "skip_step",
        "trigger",
        "trigger_many",
        "undo_run",
    }
)

__all__ = [
    "ChildFailed",
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
    "NotAllowed",
    "NotStorable",
    "OutcomeError",
    "OwnershipError",
    "ParamsError",
    "PermanentError",
    "Poisoned",
    "RegistrationError",
    "Rejected",
    "Retry",
    "RetryAfter",
    "RunTimeout",
    "Secret",
    "Sleep",
    "StepContext",
    "StepName",
    "StepTimeout",
    "TooDeep",
    "TooLarge",
    "VerbRefused",
    "WaitForEvent",
    "WaitTimeout",
    "WorkflowError",
    "WorkflowNotFound",
    "approve",
    "cancel_run",
    "define",
    "dry_run",
    "pause_run",
    "reject",
    "restart_run",
    "resume_run",
    "retry_run",
    "send_event",
    "skip_step",
    "step",
    "trigger",
    "trigger_many",
    "undo_run",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
