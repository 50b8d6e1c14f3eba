"""The list of workflows: how the latest runs of each went, at a cost that does not grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_workflow import define
from django_workflow.insight.figures import JUDGED, SHOWN, Figures, Outcome, judge
from django_workflow.models import Run, Workflow
from django_workflow.status import RunStatus

from .conftest import Login, MakeRun

LIST = "/admin/django_workflow/workflow/"
ECHO = {"name": "echo", "type": "admintest.echo"}
FAIL = {"name": "broken", "type": "admintest.fail"}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def outcome(status: str, seconds: float | None = None) -> Outcome:
    return Outcome(status=status, created_at=NOW, seconds=seconds)


@pytest.mark.parametrize(
    ("given_outcomes", "success", "median", "p95"),
    [
        ([], None, None, None),
        ([("running", None)], None, None, None),
        ([("cancelled", 1)], None, None, None),
        ([("failed", 9)], 0, None, None),
        ([("done", 2)], 1, 2, 2),
        ([("done", 1), ("done", 3), ("failed", 100), ("waiting", None)], 2 / 3, 2, 3),
        ([("done", number) for number in range(1, 101)], 1, 50.5, 95),
        ([("done", 1)] * 100 + [("failed", 1)] * 50, 1, 1, 1),
    ],
)
def test_figures(
    given_outcomes: list[tuple[str, float | None]],
    success: float | None,
    median: float | None,
    p95: float | None,
) -> None:
    figures = judge([outcome(*each) for each in given_outcomes])
    assert (figures.success, figures.median, figures.p95) == (success, median, p95)


outcomes = st.builds(outcome, st.sampled_from(RunStatus.values), st.none() | st.floats(0, 1e6))


@given(st.lists(outcomes, max_size=150))
def test_figures_stay_within_what_they_are_of(given_outcomes: list[Outcome]) -> None:
    figures = judge(given_outcomes)
    assert list(figures.last) == given_outcomes[:SHOWN][::-1]
    assert figures.success is None or 0 <= figures.success <= 1
    took = [each.seconds for each in given_outcomes[:JUDGED] if each.status == "done"]
    known = [seconds for seconds in took if seconds is not None]
    if figures.median is not None and figures.p95 is not None:
        assert min(known) <= figures.median <= max(known)
        assert figures.p95 in known
        assert sum(seconds <= figures.p95 for seconds in known) >= 0.95 * len(known)


@pytest.mark.django_db
def test_the_list_says_how_runs_went(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)
    make_run(FAIL)
    define("unused", steps=[ECHO])
    text = admin_client.get(LIST).text
    assert "1 done, 1 failed" in text
    assert "50 %" in text
    assert "/admin/django_workflow/run/?workflow=shop" in text
    assert "workflow-strip" in text


@pytest.mark.django_db
def test_only_the_latest_hundred_runs_are_judged(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(FAIL)
    times = {"created_at": run.created_at, "started_at": run.created_at, "finished_at": timezone.now()}
    place = {"workflow": run.workflow, "version": run.version, "status": "done"}
    Run.objects.bulk_create([Run(**place, **times) for _ in range(99)])
    assert figures_of(admin_client).success == 0.99
    Run.objects.bulk_create([Run(**place, **times)])
    assert figures_of(admin_client).success == 1


def figures_of(client: Client) -> Figures:
    [workflow] = client.get(LIST).context["cl"].result_list
    figures: Figures = workflow.figures
    return figures


@pytest.mark.django_db
def test_the_list_costs_the_same_with_more_workflows_and_runs(
    admin_client: Client, make_run: MakeRun
) -> None:
    for number in range(20):
        run = make_run(ECHO, name=f"shop-{number}")
        times = {"created_at": run.created_at, "finished_at": run.created_at + timedelta(seconds=1)}
        place = {"workflow": run.workflow, "version": run.version, "status": "done"}
        Run.objects.bulk_create([Run(**place, **times) for _ in range(number * 10)])
    with CaptureQueriesContext(connection) as queries:
        page = admin_client.get(LIST)
    assert page.context["cl"].result_count == 20
    assert len(queries) <= 8


@pytest.mark.django_db
def test_the_list_is_counted_without_its_figures(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert not any("django_workflow_run" in sql for sql in counts)


@pytest.mark.django_db
def test_who_may_not_see_runs_is_not_led_to_them(login: Login, make_run: MakeRun) -> None:
    make_run(ECHO)
    text = login("view_workflow").get(LIST).text
    assert "1 done" in text
    assert "/run/?workflow=" not in text


@pytest.mark.django_db
def test_workflows_are_deleted_from_the_list(login: Login, draft: Workflow) -> None:
    client = login("view_workflow", "delete_workflow")
    data = {"action": "delete_selected", "_selected_action": [draft.pk], "post": "yes"}
    assert client.post(LIST, data).status_code == 302
    assert not Workflow.objects.exists()


@pytest.mark.django_db
def test_a_workflow_that_was_never_published_has_a_line(login: Login, draft: Workflow) -> None:
    client = login("view_workflow")
    assert "shop" in client.get(LIST).text
