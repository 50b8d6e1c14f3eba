"""The public verbs: what a project calls. Each works in the caller's transaction."""

from __future__ import annotations

from .finding import RunLike
from .operating import cancel_run, pause_run, restart_run, resume_run, retry_run, skip_step, undo_run
from .starting import define, dry_run, trigger, trigger_many
from .telling import approve, reject, send_event

__all__ = [
    "RunLike",
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
]
