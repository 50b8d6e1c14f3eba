"""The page of health, and the banner on all others: what they say, whatever is down."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone

from django_workflow import dispatch
from django_workflow.admin import HealthAdmin
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.models import Clock, Health, Run, StepRun

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db(databases=["default", "other"])

PAGE = "/admin/django_workflow/health/"
LIST = "/admin/django_workflow/run/"
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}
DOWN = {name: {"UNIX_SOCKET_PATH": "/nowhere/redis.sock", "DB": 0} for name in ("default", "slow")}
QUEUED = {"QUEUE": "default"}

second_site = AdminSite("second")
second_site.register(Health, HealthAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]


@pytest.fixture
def clock() -> Clock:
    """A clock that ticks."""
    now = timezone.now()
    return Clock.objects.create(name="ticker:1", started_at=now, ticked_at=now)


def late(run: Run, **fields: Any) -> Run:
    """Let a step of the run have been due for two hours."""
    run.step_runs.update(due_at=timezone.now() - timedelta(hours=2), **fields)
    return run


def banners(client: Client, url: str = LIST) -> list[str]:
    return [str(message) for message in client.get(url).context["messages"]]


def test_an_approval_that_nobody_can_answer_is_told_of_here_and_on_the_page_of_its_run(
    admin_client: Client, make_run: MakeRun, clock: Clock
) -> None:
    bosses = Group.objects.create(name="bosses")
    run = make_run({"name": "ok", "type": "flow.approval", "with": {"group": "bosses"}})
    bosses.delete()
    for page in (PAGE, f"{LIST}{run.pk}/change/"):
        assert "nobody can answer" in admin_client.get(page).text


def test_all_is_well_inline_where_nothing_waits(admin_client: Client) -> None:
    text = admin_client.get(PAGE).text
    assert "All is well." in text
    assert "Steps run inline" in text


def test_each_problem_comes_with_its_way_out(admin_client: Client, make_run: MakeRun) -> None:
    late(make_run(SLEEP))
    page = admin_client.get(PAGE)
    assert "2 problems" in page.text
    assert "no clock ticks. Start <code>manage.py workflow_clock</code>." in page.text
    assert "1 ready, the oldest for 2:00:0" in page.text
    assert "All is well." not in page.text


def test_what_was_seen_is_shown(admin_client: Client, make_run: MakeRun, clock: Clock) -> None:
    late(make_run(SLEEP), status="running", waiting_for="", lease_token=uuid4())
    halted = make_run(SLEEP)
    halted.step_runs.update(due_at=None)
    text = admin_client.get(PAGE).text
    assert "ticker:1" in text
    assert "1, the oldest for 2 h" in text
    assert f'href="/admin/django_workflow/run/{halted.pk}/change/"' in text


def test_bulk_actions_under_way_are_listed(admin_client: Client, make_run: MakeRun) -> None:
    make_run(SLEEP)
    bulk = start_bulk("cancel", RunFilters(), using="default")
    text = admin_client.get(PAGE).text
    assert f'<a href="/admin/django_workflow/bulkaction/{bulk.pk}/change/">Cancel: 0 of 1</a>' in text


@override_settings(DJANGO_WORKFLOW=QUEUED, RQ_QUEUES=DOWN)
def test_redis_that_is_down_is_said(admin_client: Client) -> None:
    page = admin_client.get(PAGE)
    assert page.status_code == 200
    assert "Queue &#x27;default&#x27;: Redis does not answer" in page.text
    assert "It cannot be seen:" in page.text


@override_settings(DJANGO_WORKFLOW={"QUEUE": "nowhere"}, RQ_QUEUES=DOWN)
def test_a_queue_that_is_not_configured_is_said(admin_client: Client) -> None:
    page = admin_client.get(PAGE)
    assert page.status_code == 200
    assert "it is not in RQ_QUEUES" in page.text


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """The path of a socket where somebody listens and never answers."""
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        yield path


def test_a_redis_that_hangs_is_waited_for_once(
    admin_client: Client, make_run: MakeRun, settings: Any, silent: str
) -> None:
    def seconds_with(*names: str) -> float:
        settings.RQ_QUEUES = {name: {"UNIX_SOCKET_PATH": silent, "DB": 0} for name in ("default", *names)}
        began = time.monotonic()
        page = admin_client.get(PAGE)
        assert page.text.count("It cannot be seen:") == 1 + len(names)
        return time.monotonic() - began

    settings.DJANGO_WORKFLOW = QUEUED
    one = seconds_with()
    names = [f"queue-{number}" for number in range(7)]
    for name in names:
        make_run(SLEEP).step_runs.update(queue=name)
    assert seconds_with(*names) < one * 4


def test_only_who_may_view_runs_sees_it(login: Login) -> None:
    client = login("view_workflow")
    assert client.get(PAGE).status_code == 403
    assert PAGE not in client.get("/admin/").text


def test_nothing_is_changed_there(admin_client: Client, make_run: MakeRun) -> None:
    make_run(SLEEP)
    before = list(StepRun.objects.values())
    admin_client.post(PAGE)
    assert list(StepRun.objects.values()) == before


@override_settings(ROOT_URLCONF=__name__)
def test_a_second_site_shows_it_without_links_it_has_not(admin_client: Client, make_run: MakeRun) -> None:
    make_run(SLEEP).step_runs.update(due_at=None)
    start_bulk("cancel", RunFilters(), using="default")
    page = admin_client.get("/second/django_workflow/health/")
    assert page.status_code == 200
    assert 'href="/admin/' not in page.text
    assert "Cancel: 0 of 1" in page.text


def test_a_banner_says_that_nobody_comes_and_why(admin_client: Client, make_run: MakeRun) -> None:
    late(make_run(SLEEP))
    [banner] = banners(admin_client)
    assert "nobody has come for them" in banner
    assert "start manage.py workflow_clock" in banner
    assert f'<a href="{PAGE}">' in banner


def test_a_banner_does_not_blame_a_clock_that_ticks(
    admin_client: Client, make_run: MakeRun, clock: Clock
) -> None:
    late(make_run(SLEEP), status="running", waiting_for="", lease_token=uuid4())
    [banner] = banners(admin_client)
    assert "workflow_clock" not in banner


@pytest.mark.parametrize("calm", ["on its way", "paused", "sleeping"])
def test_there_is_no_banner_while_all_is_well(admin_client: Client, make_run: MakeRun, calm: str) -> None:
    run = make_run(SLEEP)
    if calm == "on its way":
        run.step_runs.update(due_at=timezone.now() - timedelta(seconds=30))
    if calm == "paused":
        late(run)
        Run.objects.update(status="paused")
    assert banners(admin_client) == []


def test_the_health_page_has_no_banner_about_itself(admin_client: Client, make_run: MakeRun) -> None:
    late(make_run(SLEEP))
    assert banners(admin_client, PAGE) == []
    assert len(banners(admin_client, "/admin/django_workflow/failure/")) == 1


def test_a_banner_links_to_the_health_page_for_who_may_see_it(login: Login, make_run: MakeRun) -> None:
    late(make_run(SLEEP))
    [banner] = banners(login(), "/admin/django_workflow/approval/")
    assert "nobody has come" in banner
    assert "href" not in banner


def test_a_redis_that_did_not_answer_last_time_is_told_without_asking_it(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise AssertionError("Redis was asked")

    monkeypatch.setattr("django_workflow.insight.trouble.is_redis_silent", lambda: True)
    monkeypatch.setattr(dispatch.django_rq, "get_connection", refuse)
    [banner] = banners(admin_client)
    assert "Redis does not answer" in banner


def test_the_banner_costs_one_query_while_all_is_well(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    # Session, user, how many failures and their groups, of both kinds, the banner.
    with django_assert_max_num_queries(7):
        admin_client.get("/admin/django_workflow/failure/")
