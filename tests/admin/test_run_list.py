"""The list of runs: which are shown, what it costs, and bulk actions for just those."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow import cancel_run, define, pause_run, restart_run, retry_run, trigger
from django_workflow.admin import bulk, read_only, run_list
from django_workflow.engine.control import end_overdue
from django_workflow.models import BulkAction, Run
from tests.support.admin_step_types import MENDED

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

LIST = "/admin/django_workflow/run/"
ECHO = {"name": "echo", "type": "admintest.echo"}
FAIL = {"name": "broken", "type": "admintest.fail"}
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}


def shown(client: Client, **query: str) -> set[Run]:
    page = client.get(LIST, query)
    assert page.status_code == 200
    return set(page.context["cl"].result_list)


@pytest.fixture
def runs(make_run: MakeRun) -> dict[str, Run]:
    """Return a run in each state."""
    return {
        "waiting": make_run(SLEEP),
        "paused": pause_run(make_run(SLEEP)),
        "cancelled": cancel_run(make_run(SLEEP)),
        "done": make_run(ECHO),
        "failed": make_run(FAIL),
    }


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("active", {"waiting", "paused"}),
        ("waiting", {"waiting"}),
        ("paused", {"paused"}),
        ("unresolved", {"failed"}),
        ("failed", {"failed"}),
        ("done", {"done"}),
        ("cancelled", {"cancelled"}),
        ("nonsense", {"waiting", "paused", "cancelled", "done", "failed"}),
    ],
)
def test_runs_are_found_by_state(
    admin_client: Client, runs: dict[str, Run], state: str, found: set[str]
) -> None:
    assert shown(admin_client, state=state) == {runs[name] for name in found}


def test_a_failure_is_resolved_by_a_retry_or_a_restart_that_ends_well(
    admin_client: Client, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    retried, restarted, again, left = (make_run(FAIL) for _ in range(4))
    with django_capture_on_commit_callbacks(execute=True):
        newer = restart_run(again)
    assert shown(admin_client, state="unresolved") == {retried, restarted, newer, left}
    MENDED.add("now")
    with django_capture_on_commit_callbacks(execute=True):
        retry_run(retried)
        restart_run(restarted)
    assert shown(admin_client, state="unresolved") == {newer, left}
    assert shown(admin_client, state="failed") == {restarted, again, newer, left}


def test_a_restart_under_way_stands_for_its_run_and_a_cancelled_one_does_not(
    admin_client: Client, make_run: MakeRun
) -> None:
    failed = make_run(FAIL)
    newer = restart_run(failed)
    assert shown(admin_client, state="unresolved") == set()
    cancel_run(newer)
    assert shown(admin_client, state="unresolved") == {failed}


def test_runs_are_found_by_time_error_step_and_subject(admin_client: Client, make_run: MakeRun) -> None:
    old, new = make_run(FAIL), make_run({**FAIL, "name": "other"})
    Run.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    boss = User.objects.create_user("boss")
    define("about", steps=[ECHO])
    about = trigger("about", subject=boss)
    assert shown(admin_client, since="24h", state="failed") == {new}
    assert shown(admin_client, since="7d", state="failed") == {old, new}
    assert shown(admin_client, ended="1h") == {old, new}
    assert shown(admin_client, stopped_at="broken") == {old}
    assert shown(admin_client, error="ValueError") == {old, new}
    assert shown(admin_client, about=f"auth.user:{boss.pk}") == {about}
    assert shown(admin_client, q=str(boss.pk)) == {about}
    assert shown(admin_client, q="\0") == {old, new, about}


def test_what_a_link_narrows_by_is_named_and_can_be_taken_away(
    admin_client: Client, make_run: MakeRun
) -> None:
    make_run(FAIL)
    page = admin_client.get(LIST, {"stopped_at": "broken", "error": "ValueError"})
    titles = {spec.title for spec in page.context["cl"].filter_specs}
    assert {"stopped at", "error class"} <= {str(title) for title in titles}


@pytest.mark.parametrize("query", [{}, {"state": "failed"}, {"q": "order"}, {"workflow": "shop-1"}])
def test_a_page_costs_nine_queries(admin_client: Client, make_run: MakeRun, query: dict[str, str]) -> None:
    for number in range(12):
        make_run(FAIL if number % 2 else ECHO, name=f"shop-{number}")
    # A version never changes: its steps are counted once a process.
    admin_client.get(LIST, query)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST, query)
    assert len(queries) <= 9, [each["sql"] for each in queries]


def test_a_long_list_is_counted_only_so_far(
    admin_client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only, "MOST_COUNTED", 3)
    page = admin_client.get(LIST)
    assert page.context["cl"].result_count == 3
    assert "10 000+" in page.text
    monkeypatch.setattr(read_only, "MOST_COUNTED", 5)
    assert "10 000+" not in admin_client.get(LIST).text


def test_the_list_says_how_far_runs_are(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO, FAIL, {**ECHO, "name": "after"}, {**ECHO, "name": "never", "needs": "jump"})
    assert "1 of 3" in admin_client.get(LIST).text


def test_no_count_goes_further_than_the_list(
    admin_client: Client, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only, "MOST_COUNTED", 1)
    monkeypatch.setattr(run_list, "MOST_COUNTED", 1)
    monkeypatch.setattr(bulk, "MOST_COUNTED", 1)
    assert "active (1+)" in admin_client.get(LIST, {"_facets": "True"}).text
    assert "1+ runs fit the list" in admin_client.get(f"{LIST}bulk/").text
    assert "Cancel: 1+ runs" in admin_client.get(f"{LIST}bulk/cancel/?state=active").text
    assert "Retry: 1 run" in admin_client.get(f"{LIST}bulk/retry/?state=failed").text


def test_lists_are_sorted_and_filtered_by_nothing_that_would_read_a_table(
    admin_client: Client, runs: dict[str, Run]
) -> None:
    newest_first = list(Run.objects.order_by("-pk"))
    for column in range(len(admin_client.get(LIST).context["cl"].list_display)):
        found = list(admin_client.get(LIST, {"o": f"-{column}"}).context["cl"].result_list)
        assert found == newest_first
    steps = "/admin/django_workflow/steprun/"
    assert admin_client.get(steps, {"status__exact": "failed"}).status_code == 400
    assert not admin_client.get(steps).context["cl"].has_filters
    of_run = {"run__id__exact": str(runs["failed"].pk)}
    assert admin_client.get(steps, of_run).context["cl"].has_filters
    assert admin_client.get(steps, {**of_run, "q": "broken"}).context["cl"].result_count == 1
    assert admin_client.get(steps, {**of_run, "q": "other"}).context["cl"].result_count == 0


def test_a_run_whose_time_was_over_is_found_by_the_step_it_was_at(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    define("late", steps=[SLEEP], timeout="1m")
    with django_capture_on_commit_callbacks(execute=True):
        late = trigger("late")
    end_overdue("default", timezone.now() + timedelta(hours=1))
    assert shown(admin_client, stopped_at="rest") == {late}
    assert shown(admin_client, stopped_at="other") == set()


def test_facets_count_on_demand(admin_client: Client, runs: dict[str, Run]) -> None:
    assert "active (2)" in admin_client.get(LIST, {"_facets": "True"}).text
    assert "active (2)" not in admin_client.get(LIST).text


def test_a_bulk_action_counts_first_and_is_for_what_the_list_shows(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("view_run", "control_run", "override_run")
    for _ in range(3):
        make_run(FAIL)
    other = make_run({**FAIL, "name": "elsewhere"}, name="other")
    done = make_run(ECHO)
    query = "state=unresolved&workflow=shop"
    page = client.get(f"{LIST}bulk/?{query}")
    assert {each["verb"].name: each["count"] for each in page.context["verbs"]} == {
        **dict.fromkeys(("retry", "restart", "undo", "skip"), 3),
        **dict.fromkeys(("pause", "resume", "cancel", "event"), 0),
    }
    page = client.get(f"{LIST}bulk/retry/?{query}")
    assert "Retry: 3 runs" in page.text
    assert not BulkAction.objects.exists()
    late = make_run(FAIL)
    MENDED.add("now")
    stored = page.context["hidden"]
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(f"{LIST}bulk/retry/?{query}", {"note": "mended", **stored})
    bulk = BulkAction.objects.get()
    assert answer.headers["Location"] == f"/admin/django_workflow/bulkaction/{bulk.pk}/change/"
    assert (bulk.verb, bulk.note, bulk.total, bulk.by.username) == ("retry", "mended", 4, "staff")
    assert bulk.filters["workflow"] == "shop"
    assert {other.status, done.status, late.status} == {"failed", "done"}


def test_a_bulk_action_takes_the_arguments_of_its_verb(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "override_run")
    make_run(FAIL)
    page = client.post(f"{LIST}bulk/skip/?state=failed", {"step": "", "output": "{", "note": ""})
    assert set(page.context["form"].errors) == {"step", "output"}
    client.post(f"{LIST}bulk/skip/?state=failed", {"step": "broken", "output": "[1]", "note": ""})
    assert BulkAction.objects.get().arguments == {"step": "broken", "output": [1]}


def test_a_bulk_action_for_nothing_says_so(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    make_run(FAIL)
    page = client.get(f"{LIST}bulk/cancel/?state=failed", follow=True)
    assert "none of these runs allows it now" in page.text
    assert client.get(f"{LIST}bulk/nonsense/").status_code == 404


def test_filters_that_were_tampered_with_are_refused(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    make_run(FAIL)
    url = f"{LIST}bulk/retry/?state=failed"
    assert client.post(url, {"note": "", "filters": '{"workflow": "other"}'}).status_code == 400
    assert not BulkAction.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        "input__word__startswith=tel",
        "state__word=telling",
        "error__contains=luck",
        "output__isnull=True",
        "step_runs__params__value__startswith=tel",
        "id__exact=1",
    ],
)
def test_what_is_hidden_cannot_be_found_out_by_filters(login: Login, make_run: MakeRun, query: str) -> None:
    client = login("view_run", "control_run")
    make_run(FAIL, input={"word": "telling"})
    assert client.get(f"{LIST}?{query}").status_code == 400
    assert client.get(f"{LIST}bulk/?{query}").status_code == 400
    assert client.get(f"{LIST}bulk/retry/?{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "steprun/?params__message__startswith=no",
        "steprun/?error__contains=luck",
        "bulkaction/?arguments__step=x",
        "workflowversion/?spec__contains=x",
        "workflow/?input__contains=x",
    ],
)
def test_no_list_is_filtered_by_what_is_hidden(admin_client: Client, make_run: MakeRun, path: str) -> None:
    make_run(FAIL)
    assert admin_client.get(f"/admin/django_workflow/{path}").status_code == 400


def test_the_filters_of_lists_and_links_hold(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(FAIL)
    for path in (
        f"steprun/?run__id__exact={run.pk}&status__exact=failed",
        f"workflowversion/?workflow__id__exact={run.workflow_id}",
        "workflow/?enabled__exact=1&managed_by__exact=code",
    ):
        page = admin_client.get(f"/admin/django_workflow/{path}")
        assert page.context["cl"].result_count == 1, path


def test_a_page_that_shows_only_some_runs_has_no_bulk_actions(
    login: Login, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login("view_run", "control_run")
    make_run(FAIL)
    page = admin.site.get_model_admin(Run)
    monkeypatch.setattr(page, "get_queryset", lambda request: Run.objects.filter(source="admin"))
    assert client.get(f"{LIST}bulk/retry/?state=failed").status_code == 403
    assert client.post(f"{LIST}bulk/retry/?state=failed", {"note": ""}).status_code == 403
    assert not BulkAction.objects.exists()


def test_odd_texts_in_an_address_find_nothing(admin_client: Client, make_run: MakeRun) -> None:
    make_run(FAIL)
    for name in ("workflow", "error", "stopped_at", "about", "since", "ended", "state", "q"):
        for text in ("\0", "'\"<>%", "x" * 5000, "ü:7"):
            assert admin_client.get(LIST, {name: text}).status_code == 200


def test_what_does_not_fit_is_told_for_each_of_the_chosen_runs(
    login: Login, make_run: MakeRun, settings: Any
) -> None:
    client = login("view_run", "control_run")
    wait = {"name": "pay", "type": "flow.wait", "with": {"event": "paid"}}
    runs = [make_run(wait), make_run(wait)]
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 50}
    data = {"action": "event_selected", "_selected_action": [run.pk for run in runs], "confirmed": "1"}
    large = {"name": "paid", "payload": f'"{"x" * 100}"', "id": "", "note": ""}
    page = client.post(LIST, {**data, **large}, follow=True)
    levels = [message.level_tag for message in page.context["messages"]]
    assert levels == ["error", "error"]
    assert set(Run.objects.values_list("status", flat=True)) == {"waiting"}


def test_what_is_unresolved_is_found_by_indexes(make_run: MakeRun) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's plan says so without rows")
    make_run(FAIL)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = Run.objects.unresolved().explain()
    assert "workflow_run_restarts" in plan
    assert "workflow_run_ended" in plan
