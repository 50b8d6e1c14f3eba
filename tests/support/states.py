"""Runs in every status that a verb can meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from django_workflow import cancel_run, pause_run
from django_workflow.models import Run
from tests.support.runs import fresh, start, step_run, step_runs

SLEEP = {"name": "work", "type": "flow.sleep", "with": {"for": "1h"}}
FAIL = {"name": "work", "type": "tests.fail"}


def _flow(work: Mapping[str, Any], **fields: Any) -> Run:
    before = {"name": "before", "type": "tests.echo", "with": {"value": 1}, "undo": {"type": "tests.note"}}
    return start([before, work, {"name": "after", "type": "tests.note"}], **fields)


def _pending() -> Run:
    return start(
        [{"name": "work", "type": "tests.echo", "delay": "1h"}, {"name": "after", "type": "tests.note"}]
    )


def _running() -> Run:
    return hold(_flow(SLEEP), "work")


def _ending() -> Run:
    return cancel_run(_running())


BUILD: Mapping[str, Callable[[], Run]] = {
    "pending": _pending,
    "running": _running,
    "waiting": lambda: _flow(SLEEP),
    "paused": lambda: pause_run(_flow(SLEEP)),
    "ending": _ending,
    "done": lambda: _flow({"name": "work", "type": "tests.echo"}),
    "failed": lambda: _flow(FAIL),
    "cancelled": lambda: cancel_run(_flow(SLEEP)),
    "undone": lambda: _flow(FAIL, on_failure="undo"),
}
# What the row of the run says then.
STATUS = {name: name for name in BUILD} | {"ending": "running", "undone": "failed"}


def run_in(state: str) -> Run:
    """Return a run in that state, and no note of an operator's."""
    run = BUILD[state]()
    run.actions.all().delete()
    run = fresh(run)
    assert run.status == STATUS[state]
    assert bool(run.ending) == (state in ("ending", "failed", "cancelled", "undone"))
    return run


def hold(run: Run, name: str) -> Run:
    """Let the step ``name`` run, as if a worker had claimed it."""
    until = timezone.now() + timedelta(minutes=1)
    held = {"lease_token": uuid4(), "lease_until": until, "due_at": until, "started_at": timezone.now()}
    row = step_run(run, name, current=True)
    step_runs(run).filter(pk=row.pk).update(status="running", waiting_for="", **held)
    Run.objects.filter(pk=run.pk).update(status="running")
    return fresh(run)
