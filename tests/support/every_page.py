"""Every page of the app in the admin, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.db import router
from django.test import TestCase

from django_workflow import define, trigger
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.models import Run, Workflow

FAIL = {"name": "broken", "type": "admintest.fail"}
ASK = {"name": "ask", "type": "flow.approval", "with": {"permission": "testapp.add_note"}}
APP = "django_workflow"


def _run(name: str, step: dict[str, object]) -> Run:
    """Return a run of a workflow of one step, which has gone as far as it can."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        run = trigger(define(name, steps=[step]))
    run.refresh_from_db()
    return run


def _failed() -> Run:
    return _run("shop", FAIL)


def _asking() -> Run:
    return _run("asking", ASK)


def _path(run: Run, page: str) -> str:
    return f"run/{run.pk}/{page}/"


def _workflow(page: str) -> str:
    return f"workflow/{Workflow.objects.get(name=_failed().workflow.name).pk}/{page}/"


def _bulk() -> str:
    _failed()
    return f"bulkaction/{start_bulk('retry', RunFilters(), using=router.db_for_write(Run)).pk}/change/"


def _listing(path: str) -> Callable[[], str]:
    def prepare() -> str:
        _failed()
        _asking()
        return path

    return prepare


# What prepares each, and returns its address below the app's.
PAGES: Mapping[str, Callable[[], str]] = {
    "workflows": _listing("workflow/"),
    "workflow": lambda: _workflow("change"),
    "trigger": lambda: _workflow("trigger"),
    "runs": _listing("run/"),
    "unresolved": _listing("run/?state=unresolved&_facets=True"),
    "run": lambda: _path(_failed(), "change"),
    "waiting run": lambda: _path(_asking(), "change"),
    "live": lambda: _path(_failed(), "live"),
    "step run": lambda: f"steprun/{_failed().step_runs.get().pk}/change/",
    "version": lambda: f"workflowversion/{_failed().version_id}/change/",
    "retry": lambda: _path(_failed(), "retry"),
    "restart": lambda: _path(_failed(), "restart"),
    "skip": lambda: _path(_failed(), "skip"),
    "cancel": lambda: _path(_asking(), "cancel"),
    "pause": lambda: _path(_asking(), "pause"),
    "event": lambda: _path(_asking(), "event"),
    "history": lambda: _path(_failed(), "history"),
    "bulk": _listing("run/bulk/?state=failed"),
    "bulk retry": _listing("run/bulk/retry/?state=failed"),
    "bulk actions": lambda: _bulk().partition("/")[0] + "/",
    "bulk action": _bulk,
    "failures": _listing("failure/"),
    "approvals": _listing("approval/"),
    "health": _listing("health/"),
    "step types": _listing("steptype/"),
}
