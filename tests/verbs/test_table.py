"""Every verb in every status: what the run is then, or why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from django_workflow import (
    cancel_run,
    pause_run,
    restart_run,
    resume_run,
    retry_run,
    send_event,
    skip_step,
    undo_run,
)
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, RunAction
from tests.support.runs import fresh
from tests.support.states import BUILD, run_in

pytestmark = pytest.mark.django_db(transaction=True)

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
        "undone": "(has begun, so it cannot go on: finish that by undo_run, or restart it)",
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
    # approve and reject belong to a step: tests of approvals have them.
}
CASES = [(verb, state, then) for verb, row in TABLE.items() for state, then in row.items()]


@pytest.mark.parametrize("verb", TABLE)
def test_the_table_has_every_status(verb: str) -> None:
    assert set(TABLE[verb]) == set(BUILD)


@pytest.mark.parametrize(("verb", "state", "then"), [case for case in CASES if "(" not in case[2]])
def test_a_verb_that_the_status_allows_is_done_and_noted(verb: str, state: str, then: str) -> None:
    run = run_in(state)
    VERBS[verb](run, note="why")
    assert fresh(run).status == then
    assert list(run.actions.values_list("verb", "note")) == [(verb, "why")]


@pytest.mark.parametrize(("verb", "state", "why"), [case for case in CASES if "(" in case[2]])
def test_a_verb_that_the_status_does_not_allow_says_why_and_changes_nothing(
    verb: str, state: str, why: str
) -> None:
    run = run_in(state)
    before = (_facts(run), list(run.step_runs.order_by("pk").values()))
    with pytest.raises(VerbRefused, match=why.strip("()")) as refused:
        VERBS[verb](run)
    assert str(run.pk) in str(refused.value)
    assert (_facts(run), list(run.step_runs.order_by("pk").values())) == before
    assert (Run.objects.count(), RunAction.objects.count()) == (1, 0)


@pytest.mark.parametrize("state", BUILD)
def test_an_event_is_taken_by_every_run_that_is_not_final(state: str) -> None:
    run = run_in(state)
    assert send_event(run, "paid") == (not run.is_final)


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_was_deleted_meanwhile_is_refused(verb: str) -> None:
    run = run_in("waiting")
    Run.objects.all().delete()
    with pytest.raises(VerbRefused, match="does not exist any more"):
        VERBS[verb](run)


def _facts(run: Run) -> dict[str, Any]:
    return Run.objects.filter(pk=run.pk).values().get()
