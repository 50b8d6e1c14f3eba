"""Runs that are done although steps failed say so: in lists, figures, the failures, and on commands."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow import reject
from django_workflow.models import Run, StepRun
from tests.support.admin_step_types import change_url

from .conftest import MakeRun

pytestmark = pytest.mark.django_db

RUNS = "/admin/django_workflow/run/"
WORKFLOWS = "/admin/django_workflow/workflow/"
FAILURES = "/admin/django_workflow/failure/"
ECHO = {"name": "echo", "type": "admintest.echo"}
PASSED = {"name": "broken", "type": "admintest.fail", "on_error": "continue"}


def listed(client: Client, **query: str) -> list[Run]:
    return list(client.get(RUNS, query).context["cl"].result_list)


def test_list_says_how_many_steps_failed(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)
    make_run(PASSED, {**PASSED, "name": "later"}, ECHO)

    text = admin_client.get(RUNS).text

    assert text.count("done, 2 steps failed") == 1


def test_failed_items_count_as_one_step(admin_client: Client, make_run: MakeRun) -> None:
    make_run({**PASSED, "for_each": "rows"}, input={"rows": [1, 2, 3]})

    assert "done, 1 step failed" in admin_client.get(RUNS).text


def test_filter_finds_just_these_runs(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)
    make_run({"name": "broken", "type": "admintest.fail"})
    run = make_run(PASSED)

    assert listed(admin_client, state="passed_over") == [run]
    assert listed(admin_client, state="passed_over", step="broken") == [run]
    assert listed(admin_client, state="passed_over", step="echo") == []


def test_attempt_that_was_tried_again_is_no_failed_step(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run({**PASSED, "retry": {"attempts": 2, "delay": 0}})
    StepRun.objects.filter(run=run, attempt=2).update(status="done")

    assert listed(admin_client, state="passed_over") == []


def test_refused_approval_is_no_failed_step(
    admin_client: Client, admin_user: User, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    ask = {"name": "ask", "type": "flow.approval", "with": {"users": [admin_user.pk]}, "on_error": "continue"}
    run = make_run(ask)
    with django_capture_on_commit_callbacks(execute=True):
        reject(run, "ask", by=admin_user, note="no")
    run.refresh_from_db()

    assert run.status == "done"
    assert listed(admin_client, state="passed_over") == []


def test_page_of_the_run_names_the_steps(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(PASSED, ECHO)

    text = admin_client.get(change_url(run)).text

    assert "though these steps failed: “broken”" in text


def test_figures_of_a_workflow_say_it(admin_client: Client, make_run: MakeRun) -> None:
    make_run(PASSED)
    make_run(PASSED)

    text = admin_client.get(WORKFLOWS).text

    assert "100 %, 2 of them though steps failed" in text
    assert "<title>done, though steps failed, " in text


def test_inbox_counts_runs_by_error_workflow_and_step(admin_client: Client, make_run: MakeRun) -> None:
    for days in (0, 2, 8):
        run = make_run({**PASSED, "for_each": "rows"}, input={"rows": [1, 2]})
        at = timezone.now() - timedelta(days=days)
        StepRun.objects.filter(run=run, index__gte=0).update(finished_at=at)
    make_run(PASSED, name="other")
    make_run(PASSED, {"name": "then", "type": "admintest.fail"}, name="failed")

    response = admin_client.get(FAILURES)

    found = [row.group for row in response.context["passed_over"]]
    counts = {(each.error_class, each.workflow, each.step, each.in_hour, each.in_week) for each in found}
    assert counts == {("ValueError", "other", "broken", 1, 1), ("ValueError", "shop", "broken", 1, 2)}
    assert "state=passed_over&amp;workflow=other&amp;step=broken&amp;ended=1h" in response.text


def test_inbox_without_any_says_nothing(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)

    assert "though steps failed" not in admin_client.get(FAILURES).text


def test_commands_say_it(make_run: MakeRun) -> None:
    run = make_run(PASSED, ECHO)

    out = StringIO()
    call_command("show_run", str(run.pk), stdout=out)

    assert "shop version 1: done, though these steps failed: broken" in out.getvalue()


def test_cost_does_not_grow_with_the_runs(admin_client: Client, make_run: MakeRun) -> None:
    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(url)
        return len(queries)

    pages = (RUNS, WORKFLOWS, FAILURES)
    make_run(PASSED)
    # A version never changes: its steps are counted once a process.
    admin_client.get(RUNS)
    before = [count(page) for page in pages]
    for _each in range(5):
        make_run(PASSED)

    assert [count(page) for page in pages] == before
