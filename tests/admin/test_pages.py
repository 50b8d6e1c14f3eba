"""All pages: how many queries they cost, how they are found, and on which site they answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext, override_script_prefix
from django.urls import path

from django_workflow import define, trigger
from django_workflow.admin import RunAdmin, WorkflowAdmin
from django_workflow.models import Run, StepRun, Workflow
from tests.support.admin_step_types import change_url
from tests.testapp.models import Note

from .conftest import MakeRun

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

LIST = "/admin/django_workflow/run/"
ECHO = {"name": "echo", "type": "admintest.echo", "with": {"value": 1}}
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}

second_site = AdminSite("second")
second_site.register(Workflow, WorkflowAdmin)
second_site.register(Run, RunAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]


@pytest.mark.parametrize("model", ["workflow", "workflowversion", "run", "steprun"])
def test_a_list_costs_the_same_with_more_rows(
    admin_client: Client, make_run: MakeRun, django_assert_max_num_queries: Any, model: str
) -> None:
    for number in range(8):
        make_run(ECHO, name=f"shop-{number}")
    with django_assert_max_num_queries(10):
        page = admin_client.get(f"/admin/django_workflow/{model}/")
    assert page.context["cl"].result_count == 8


@pytest.mark.parametrize("model", ["workflow", "workflowversion", "run", "steprun"])
def test_a_list_leaves_big_columns_in_the_database(
    admin_client: Client, make_run: MakeRun, model: str
) -> None:
    make_run(ECHO)
    # A version never changes: its steps are counted once a process.
    admin_client.get(f"/admin/django_workflow/{model}/")
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"/admin/django_workflow/{model}/")
    for column in ("state", "output", "params", "spec", "traceback", "input"):
        assert not any(connection.ops.quote_name(column) in query["sql"] for query in queries)


def test_a_run_with_many_steps_is_shown_at_a_bounded_cost(
    admin_client: Client, make_run: MakeRun, django_assert_max_num_queries: Any
) -> None:
    run = make_run({**ECHO, "for_each": "items"}, input={"items": list(range(250))})
    for number in range(20):
        user = User.objects.create_user(f"operator-{number}")
        run.actions.create(verb="retry", by=user, at=run.created_at)
    with django_assert_max_num_queries(11):
        page = admin_client.get(change_url(run))
    latest = list(run.step_runs.order_by("id").values_list("id", flat=True))[-200:]
    assert [row.step_run.pk for row in page.context["page"].rows] == latest
    assert f"/admin/django_workflow/steprun/?run__id__exact={run.pk}" in page.text


def test_runs_are_found_by_the_beginning_of_id_or_key(admin_client: Client) -> None:
    define("shop", steps=[SLEEP])
    runs = [trigger("shop", key=f"order-{number}") for number in range(3)]
    about = trigger("shop", subject=Note.objects.create(pk=17, text="17"))
    for term, found in [
        (str(runs[1].pk), [runs[1]]),
        (str(runs[1].pk)[:30], [runs[1]]),
        (runs[1].pk.hex, [runs[1]]),
        ("order-2", [runs[2]]),
        ("order", runs),
        ("rder-2", []),
        ("17", [about]),
        ("0", []),
        ("", [*runs, about]),
    ]:
        page = admin_client.get(LIST, {"q": term})
        assert set(page.context["cl"].result_list) == set(found), term


@pytest.mark.parametrize(
    "query",
    ["state=waiting", "since=15m&state=failed", "workflow=none", "error=OSError", "stopped_at=nowhere"],
)
def test_runs_are_filtered(admin_client: Client, make_run: MakeRun, query: str) -> None:
    make_run(ECHO)
    make_run(ECHO, name="other")
    assert admin_client.get(f"{LIST}?{query}").context["cl"].result_count == 0


@override_settings(ROOT_URLCONF=__name__)
def test_a_second_site_shows_its_own_pages(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(SLEEP)
    for page in ("change", "cancel", "history", "delete"):
        text = admin_client.get(change_url(run, page, site="/second")).text
        assert 'href="/second/' in text
        assert 'href="/admin/' not in text
    workflow = change_url(run.workflow, site="/second")
    assert change_url(run.workflow, "edit-here", site="/second") in admin_client.get(workflow).text
    response = admin_client.post(change_url(run, "cancel", site="/second"))
    assert response.headers["Location"] == change_url(run, site="/second")
    assert Run.objects.get().status == "cancelled"


@pytest.mark.parametrize("page", ["change", "cancel", "history", "delete"])
def test_links_keep_the_prefix_the_project_is_mounted_under(
    admin_client: Client, make_run: MakeRun, page: str
) -> None:
    run = make_run(SLEEP)
    with override_script_prefix("/mounted/"):
        text = admin_client.get(change_url(run, page), SCRIPT_NAME="/mounted").text
    assert 'href="/mounted/admin/' in text
    assert 'href="/admin/' not in text


def test_pages_bring_neither_script_nor_style_of_their_own(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(SLEEP)
    for url in (
        change_url(run, "cancel"),
        change_url(run),
        change_url(run.workflow),
        change_url(StepRun.objects.get()),
    ):
        text = admin_client.get(url).text
        assert "<style" not in text
        assert "style=" not in text
        assert "<script>" not in text
        assert "onclick" not in text


def test_the_index_lists_workflows_and_runs(admin_client: Client) -> None:
    text = admin_client.get("/admin/").text
    assert "/admin/django_workflow/workflow/" in text
    assert LIST in text


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("workflow", "managed_by=%00"),
        ("workflow", "managed_by__exact=%00"),
        ("workflow", "q=a%00"),
        ("run", "state=%00&workflow=%00&step=%00"),
        ("steprun", "run__id__exact=%00&status__exact=%00"),
        ("workflowversion", "q=%00&workflow__id__exact=%00"),
        ("bulkaction", "q=%00"),
        ("failure", "window=%00"),
        ("approval", "page=%00"),
        ("steptype", "q=%00"),
    ],
)
def test_a_nul_in_an_address_is_no_error(admin_client: Client, model: str, query: str) -> None:
    response = admin_client.get(f"/admin/django_workflow/{model}/?{query}", follow=True)
    assert response.status_code == 200
