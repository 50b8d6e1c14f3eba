"""The page of failures: what is in a group, what leaves it, where its links lead, what it costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone

from django_workflow import cancel_run, restart_run, retry_run
from django_workflow.admin import FailureAdmin, RunAdmin, failures
from django_workflow.insight.failures import FailureGroup
from django_workflow.models import Failure, Run
from tests.support.admin_step_types import MENDED

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

PAGE = "/admin/django_workflow/failure/"
ECHO = {"name": "echo", "type": "admintest.echo"}
FAIL = {"name": "broken", "type": "admintest.fail"}

second_site = AdminSite("second")
second_site.register(Run, RunAdmin)
second_site.register(Failure, FailureAdmin)
bare_site = AdminSite("bare")
bare_site.register(Failure, FailureAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("second/", second_site.urls),
    path("bare/", bare_site.urls),
]


def failing(message: str) -> dict[str, Any]:
    return {**FAIL, "with": {"message": message}}


def age(run: Run, **ago: float) -> Run:
    """Let the run have ended so long ago."""
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now() - timedelta(**ago))
    return run


def groups(client: Client, **query: str) -> list[FailureGroup]:
    return [row.group for row in client.get(PAGE, query).context["rows"]]


def counts(client: Client, **query: str) -> list[tuple[str, str, str, int, int, int]]:
    return [
        (each.error_class, each.workflow, each.step, each.in_hour, each.in_day, each.in_week)
        for each in groups(client, **query)
    ]


def test_failures_are_counted_by_error_workflow_and_step(admin_client: Client, make_run: MakeRun) -> None:
    for ago in ({}, {"hours": 2}, {"days": 2}, {"days": 8}):
        age(make_run(FAIL), **ago)
    age(make_run({**FAIL, "name": "later"}), hours=3)
    age(make_run(FAIL, name="other"), days=3)
    age(make_run({"name": "give_up", "type": "flow.fail", "with": {"message": "no"}}), hours=5)
    make_run(ECHO)
    assert counts(admin_client) == [
        ("ValueError", "shop", "broken", 1, 2, 3),
        ("ValueError", "shop", "later", 0, 1, 1),
        ("Failed", "shop", "give_up", 0, 1, 1),
        ("ValueError", "other", "broken", 0, 0, 1),
    ]


def test_each_group_says_when_it_began_and_what_it_said_last(admin_client: Client, make_run: MakeRun) -> None:
    first = age(make_run(failing("the first")), days=3)
    latest = make_run(failing("the\nlatest " + "x" * 300))
    [group] = groups(admin_client)
    for run in (first, latest):
        run.refresh_from_db()
    assert (group.first, group.latest) == (first.finished_at, latest.finished_at)
    assert group.message.startswith("the latest xxx")
    assert len(group.message) == 200


@pytest.mark.parametrize(("window", "found"), [("1h", 1), ("24h", 2), ("7d", 3), ("nonsense", 3), ("", 3)])
def test_a_window_shows_what_failed_within(
    admin_client: Client, make_run: MakeRun, window: str, found: int
) -> None:
    for number, ago in enumerate(({}, {"hours": 2}, {"days": 2})):
        age(make_run(FAIL, name=f"shop-{number}"), **ago)
    assert len(groups(admin_client, window=window)) == found


def test_the_newest_or_the_most_frequent_come_first(admin_client: Client, make_run: MakeRun) -> None:
    for _ in range(2):
        age(make_run(FAIL, name="often"), hours=2)
    make_run(FAIL, name="new")
    assert [each.workflow for each in groups(admin_client)] == ["new", "often"]
    assert [each.workflow for each in groups(admin_client, order="most")] == ["often", "new"]


def test_what_was_put_right_leaves(
    admin_client: Client, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    retried, restarted, again, called_off = (make_run(FAIL, name=f"shop-{number}") for number in range(4))
    with django_capture_on_commit_callbacks(execute=True):
        restart_run(again)
    assert [each.in_week for each in groups(admin_client)] == [1, 1, 1, 1]
    MENDED.add("now")
    cancelled = restart_run(called_off)
    cancel_run(cancelled)
    with django_capture_on_commit_callbacks(execute=True):
        retry_run(retried)
        restart_run(restarted)
    assert {each.workflow for each in groups(admin_client)} == {"shop-2", "shop-3"}


def test_without_failures_the_page_says_so(admin_client: Client, make_run: MakeRun) -> None:
    make_run(ECHO)
    page = admin_client.get(PAGE)
    assert "Nothing failed within 7 days" in page.text
    assert page.context["rows"] == []


def test_each_count_leads_to_just_its_runs(admin_client: Client, make_run: MakeRun) -> None:
    make_run(FAIL)
    make_run({**FAIL, "name": "later"})
    make_run({"name": "give_up", "type": "flow.fail", "with": {"message": "no"}})
    age(make_run(FAIL), hours=2)
    rows = admin_client.get(PAGE).context["rows"]
    assert len(rows) == 3
    for row in rows:
        for _label, count, url in row.counts:
            assert admin_client.get(url).context["cl"].result_count == count, url


def test_a_group_leads_to_the_retry_of_its_runs(admin_client: Client, make_run: MakeRun) -> None:
    make_run(FAIL)
    age(make_run(FAIL), days=2)
    [row] = admin_client.get(PAGE, {"window": "24h"}).context["rows"]
    assert urlsplit(row.retry_url).path == "/admin/django_workflow/run/bulk/retry/"
    assert parse_qs(urlsplit(row.retry_url).query) == {
        "state": ["unresolved"],
        "workflow": ["shop"],
        "error": ["ValueError"],
        "stopped_at": ["broken"],
        "ended": ["24h"],
    }
    assert "1 run" in admin_client.get(row.retry_url).text


def test_only_who_may_control_runs_is_offered_to_retry(login: Login, make_run: MakeRun) -> None:
    make_run(FAIL)
    assert "bulk/retry" not in login("view_run").get(PAGE).text


def test_the_message_is_shown_to_who_may_see_payloads(login: Login, make_run: MakeRun) -> None:
    make_run(failing("card 4711"))
    client = login("view_run")
    text = client.get(PAGE).text
    assert "ValueError" in text
    assert "4711" not in text


def test_an_error_goes_by_its_bare_name_and_says_the_dotted_one(
    admin_client: Client, make_run: MakeRun
) -> None:
    make_run({"name": "give_up", "type": "flow.fail", "with": {"message": "no"}})
    assert '<abbr title="django_workflow.exceptions.Failed">Failed</abbr>' in admin_client.get(PAGE).text


def test_who_may_not_view_runs_sees_no_failures(login: Login, make_run: MakeRun) -> None:
    make_run(FAIL)
    client = login("view_workflow")
    assert client.get(PAGE).status_code == 403
    assert PAGE not in client.get("/admin/").text


def test_what_an_error_says_is_text(admin_client: Client, make_run: MakeRun) -> None:
    make_run(failing("<script>alert(1)</script>"))
    text = admin_client.get(PAGE).text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_many_groups_cost_the_same_and_are_cut(
    admin_client: Client, make_run: MakeRun, django_assert_max_num_queries: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(failures, "MOST_SHOWN", 5)
    for number in range(8):
        make_run(FAIL, name=f"shop-{number}")
    with django_assert_max_num_queries(8):
        page = admin_client.get(PAGE)
    assert len(page.context["rows"]) == 5
    assert "And 3 more kinds of failures." in page.text


def test_of_too_many_the_newest_are_counted(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_workflow.insight.failures.MOST_COUNTED", 2)
    for hours in (5, 4, 3):
        age(make_run(FAIL), hours=hours)
    page = admin_client.get(PAGE)
    assert [row.group.in_week for row in page.context["rows"]] == [2]
    assert "of these runs are counted" in page.text


@override_settings(ROOT_URLCONF=__name__)
def test_a_second_site_links_to_itself(admin_client: Client, make_run: MakeRun) -> None:
    make_run(FAIL)
    text = admin_client.get("/second/django_workflow/failure/").text
    assert 'href="/second/django_workflow/run/bulk/retry/?' in text
    assert 'href="/second/django_workflow/run/?state=unresolved' in text
    assert 'href="/admin/' not in text


@override_settings(ROOT_URLCONF=__name__)
def test_a_site_without_runs_shows_counts_without_links(admin_client: Client, make_run: MakeRun) -> None:
    make_run(FAIL)
    page = admin_client.get("/bare/django_workflow/failure/")
    assert page.status_code == 200
    assert "django_workflow/run/" not in page.text
