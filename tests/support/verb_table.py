"""Every verb in every status: what engine and page are both checked against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django_workflow import cancel_run, pause_run, restart_run, resume_run, retry_run, skip_step, undo_run
from tests.support.states import BUILD

# approve and reject belong to a step: tests of approvals have them.
VERBS: Mapping[str, Callable[..., Any]] = {
    "cancel": cancel_run,
    "pause": pause_run,
    "resume": resume_run,
    "retry": retry_run,
    "restart": restart_run,
    "skip": lambda run, **fields: skip_step(run, "work", "given", **fields),
    "undo": undo_run,
}
FINAL = "a final run cannot be"
NOT_OVER = "it is not over yet"
# The status that the run has then; or in parentheses what the refusal says.
TABLE: Mapping[str, Mapping[str, str]] = {
    "cancel": {
        "pending": "cancelled",
        "running": "running",
        "waiting": "cancelled",
        "paused": "cancelled",
        "ending": "running",
        "done": f"({FINAL} cancelled)",
        "failed": f"({FINAL} cancelled)",
        "cancelled": f"({FINAL} cancelled)",
        "undone": f"({FINAL} cancelled)",
    },
    "pause": {
        "pending": "paused",
        "running": "paused",
        "waiting": "paused",
        "paused": "(is paused already: resume it)",
        "ending": "(is ending as cancelled, and cannot be paused)",
        "done": f"({FINAL} paused)",
        "failed": f"({FINAL} paused)",
        "cancelled": f"({FINAL} paused)",
        "undone": f"({FINAL} paused)",
    },
    "resume": {**dict.fromkeys(BUILD, "(only a paused run is resumed)"), "paused": "waiting"},
    "retry": {
        "pending": f"({NOT_OVER})",
        "running": f"({NOT_OVER})",
        "waiting": f"({NOT_OVER})",
        "paused": f"({NOT_OVER})",
        "ending": f"({NOT_OVER})",
        "done": "(only a failed run is retried; restart this one)",
        "failed": "failed",
        "cancelled": "(only a failed run is retried; restart this one)",
        "undone": "(has begun, so it cannot go on: finish the undo, or restart the run)",
    },
    "restart": {
        "pending": "(cancel it first)",
        "running": "(cancel it first)",
        "waiting": "(cancel it first)",
        "paused": "(cancel it first)",
        "ending": "(cancel it first)",
        "done": "done",
        "failed": "failed",
        "cancelled": "cancelled",
        "undone": "failed",
    },
    "skip": {
        "pending": "done",
        "running": "(step 'work' of run .* is running: only a step that waits or failed is skipped)",
        "waiting": "done",
        "paused": "paused",
        "ending": "(is ending as cancelled, and cannot be changed by skipping a step)",
        "done": f"({FINAL} changed by skipping a step)",
        "failed": "done",
        "cancelled": f"({FINAL} changed by skipping a step)",
        "undone": "(has begun, so it cannot go on)",
    },
    "undo": {
        "pending": "(cancel it first)",
        "running": "(cancel it first)",
        "waiting": "(cancel it first)",
        "paused": "(cancel it first)",
        "ending": "(cancel it first)",
        "done": "done",
        "failed": "failed",
        "cancelled": "cancelled",
        "undone": "(everything is undone already)",
    },
}
CASES = [(verb, state, then) for verb, row in TABLE.items() for state, then in row.items()]
ALLOWED = [case for case in CASES if not case[2].startswith("(")]
REFUSED = [case for case in CASES if case[2].startswith("(")]
