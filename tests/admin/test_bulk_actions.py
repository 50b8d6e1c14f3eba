"""The pages of bulk actions: the list, how far one is, what was refused, and who may go on with it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone

from django_workflow.admin import BulkActionAdmin, RunAdmin
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.models import BulkAction, Clock, Run
from tests.support.admin_step_types import change_url

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

LIST = "/admin/django_workflow/bulkaction/"
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}
QUEUED = {"QUEUE": "default"}

second_site = AdminSite("second")
second_site.register(Run, RunAdmin)
second_site.register(BulkAction, BulkActionAdmin)
bare_site = AdminSite("bare")
bare_site.register(BulkAction, BulkActionAdmin)
site_of_runs = AdminSite("runs")
site_of_runs.register(Run, RunAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("second/", second_site.urls),
    path("bare/", bare_site.urls),
    path("runs/", site_of_runs.urls),
]


@pytest.fixture
def bulk(make_run: MakeRun) -> BulkAction:
    """A bulk action that has three runs to pause, and has not begun."""
    for _ in range(3):
        make_run(SLEEP)
    by = User.objects.create_user("operator")
    return start_bulk("pause", RunFilters(workflow="shop"), by=by, note="for a <while>", using="default")


def go_so_far(bulk: BulkAction, **values: Any) -> BulkAction:
    """Let it be so far."""
    BulkAction.objects.filter(pk=bulk.pk).update(**values)
    bulk.refresh_from_db()
    return bulk


def finish(bulk: BulkAction, **values: Any) -> BulkAction:
    return go_so_far(bulk, finished_at=timezone.now(), due_at=None, **values)


def page_of(client: Client, bulk: BulkAction) -> Any:
    return client.get(change_url(bulk))


def etag_on(page: Any) -> str:
    [etag] = re.findall(r'data-etag="&quot;(\w+)&quot;"', page.text)
    return f'"{etag}"'


def test_the_list_says_what_is_done_to_which_runs_and_how_far_it_is(
    admin_client: Client, bulk: BulkAction
) -> None:
    go_so_far(bulk, done=110, refused=10, total=10_000, last=Run.objects.first().pk)  # type: ignore[union-attr]
    text = admin_client.get(LIST).text
    for part in (">Pause<", "under way", "120 of 10,000", "workflow shop", ">operator<", ">10<"):
        assert part in text, part


def test_the_list_costs_the_same_with_more_rows(
    admin_client: Client, bulk: BulkAction, django_assert_max_num_queries: Any
) -> None:
    for number in range(8):
        by = User.objects.create_user(f"operator-{number}")
        start_bulk("pause", RunFilters(), by=by, using="default")
    with django_assert_max_num_queries(7):
        assert admin_client.get(LIST).context["cl"].result_count == 9


def test_a_later_release_s_filters_are_shown_as_they_are_stored(
    admin_client: Client, bulk: BulkAction
) -> None:
    go_so_far(bulk, filters={"colour": "red"}, verb="paint")
    for page in (admin_client.get(LIST), page_of(admin_client, bulk)):
        assert "{&quot;colour&quot;: &quot;red&quot;}" in page.text
        assert "paint" in page.text


def test_its_page_says_why_and_by_whom_it_is_done(admin_client: Client, bulk: BulkAction) -> None:
    page = page_of(admin_client, bulk)
    for part in ("Pause: 3 runs", "workflow shop", "operator", "for a &lt;while&gt;", "not begun", "0 of 3"):
        assert part in page.text, part
    assert '<progress class="workflow-progress" max="3" value="0"' in page.text


def test_refusals_name_and_link_the_runs(admin_client: Client, bulk: BulkAction) -> None:
    run = Run.objects.latest("pk")
    finish(bulk, done=2, refused=1, refusals={str(run.pk): "run x is done: <no>."})
    text = page_of(admin_client, bulk).text
    assert f'href="{change_url(run)}">{run.pk}</a>' in text
    assert "run x is done: &lt;no&gt;." in text
    assert "The first of them." not in text
    go_so_far(bulk, refused=2)
    assert "The first of them." in page_of(admin_client, bulk).text


def test_runs_that_it_found_changed_are_counted(admin_client: Client, bulk: BulkAction) -> None:
    finish(bulk, done=1)
    assert "<dt>Had changed before</dt><dd>2</dd>" in page_of(admin_client, bulk).text


def test_values_are_for_who_may_see_payloads(login: Login, bulk: BulkAction) -> None:
    client = login("view_run")
    run = str(Run.objects.latest("pk").pk)
    finish(bulk, refused=1, refusals={run: "shop.Gone: card 4711"}, arguments={"output": "card 4712"})
    for text in (page_of(client, bulk).text, client.get(change_url(bulk, "live")).text):
        assert "shop.Gone" in text
        assert "4711" not in text
        assert "4712" not in text


def test_hidden_fields_are_starred(admin_client: Client, bulk: BulkAction) -> None:
    go_so_far(bulk, arguments={"payload": {"token": "hush", "amount": 4712}})
    text = page_of(admin_client, bulk).text
    assert "4712" in text
    assert "hush" not in text


def test_who_may_view_runs_sees_it_and_others_do_not(login: Login, bulk: BulkAction) -> None:
    client = login("view_workflow")
    for url in (LIST, change_url(bulk), change_url(bulk, "live")):
        assert client.get(url).status_code == 403, url
    client.logout()
    User.objects.all().delete()
    client = login("view_run")
    for url in (LIST, change_url(bulk), change_url(bulk, "live")):
        assert client.get(url).status_code == 200, url


def test_nothing_of_it_can_be_changed(admin_client: Client, bulk: BulkAction) -> None:
    assert admin_client.post(change_url(bulk), {"total": "1"}).status_code == 403
    assert admin_client.get(change_url(bulk, "delete")).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_a_page_asks_again_only_while_it_is_under_way(
    admin_client: Client, bulk: BulkAction, settings: Any
) -> None:
    text = page_of(admin_client, bulk).text
    assert f'data-url="{change_url(bulk, "live")}"' in text
    assert 'data-poll="1000"' in text
    assert "Refresh" in text
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "POLL": None}
    assert "data-poll" not in page_of(admin_client, bulk).text
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    finish(bulk, done=3)
    text = page_of(admin_client, bulk).text
    assert "data-poll" not in text
    assert "Refresh" not in text


def test_an_unchanged_part_costs_three_queries(
    admin_client: Client, bulk: BulkAction, django_assert_max_num_queries: Any
) -> None:
    etag, url = etag_on(page_of(admin_client, bulk)), change_url(bulk, "live")
    # The session, the user, who may do everything, and the row.
    with django_assert_max_num_queries(3):
        response = admin_client.get(url, headers={"if-none-match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == etag
    assert "X-Workflow-Final" not in response.headers


def test_a_changed_part_is_given_anew_and_says_when_it_is_the_last(
    admin_client: Client, bulk: BulkAction
) -> None:
    etag, url = etag_on(page_of(admin_client, bulk)), change_url(bulk, "live")
    go_so_far(bulk, done=1)
    first = admin_client.get(url, headers={"if-none-match": etag})
    assert first.status_code == 200
    assert "1 of 3" in first.text
    assert first.headers["ETag"] != etag
    assert "no-cache" in first.headers["Cache-Control"]
    finish(bulk, done=3)
    last = admin_client.get(url, headers={"if-none-match": first.headers["ETag"]})
    assert last.headers["X-Workflow-Final"] == "1"
    assert "<html" not in last.text


def test_a_part_without_a_session_is_refused(admin_client: Client, bulk: BulkAction) -> None:
    etag, url = etag_on(page_of(admin_client, bulk)), change_url(bulk, "live")
    admin_client.logout()
    assert admin_client.get(url, headers={"if-none-match": etag}).status_code == 403
    assert admin_client.get(url).status_code == 403


def test_a_part_of_nothing_is_refused(admin_client: Client, bulk: BulkAction) -> None:
    url = change_url(bulk, "live")
    bulk.delete()
    assert admin_client.get(url).status_code == 403


def test_it_says_that_nobody_goes_on_with_it(admin_client: Client, bulk: BulkAction, settings: Any) -> None:
    assert "no clock ticks" in page_of(admin_client, bulk).text
    clock = Clock.objects.create(name="a", started_at=timezone.now(), ticked_at=timezone.now())
    assert "Go on now" not in page_of(admin_client, bulk).text
    clock.delete()
    settings.DJANGO_WORKFLOW = QUEUED
    assert "Go on now" not in page_of(admin_client, bulk).text


@pytest.mark.parametrize(
    ("verb", "permission", "status"),
    [("pause", "control_run", 302), ("undo", "control_run", 403), ("undo", "override_run", 302)],
)
def test_going_on_needs_the_permission_of_the_verb(
    login: Login, bulk: BulkAction, verb: str, permission: str, status: int
) -> None:
    go_so_far(bulk, verb=verb)
    client, url = login("view_run", permission), change_url(bulk, "go-on")
    assert (url in page_of(client, bulk).text) == (status == 302)
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == status


def test_going_on_needs_the_token_of_the_page(bulk: BulkAction, admin_user: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(admin_user)
    assert careful.post(change_url(bulk, "go-on")).status_code == 403


def test_in_a_transaction_it_is_left_to_the_clock(admin_client: Client, bulk: BulkAction) -> None:
    page = admin_client.post(change_url(bulk, "go-on"), follow=True)
    assert "The clock goes on with it." in page.text
    assert "0 of 3" in page.text


@override_settings(DJANGO_WORKFLOW=QUEUED)
def test_with_queues_it_is_left_to_workers(admin_client: Client, bulk: BulkAction) -> None:
    assert "Workers go on with it." in admin_client.post(change_url(bulk, "go-on"), follow=True).text


@pytest.mark.django_db(transaction=True)
def test_without_a_clock_a_person_goes_on_with_it(admin_client: Client, bulk: BulkAction) -> None:
    page = admin_client.post(change_url(bulk, "go-on"), follow=True)
    assert page.redirect_chain == [(change_url(bulk), 302)]
    assert "3 of 3" in page.text
    assert set(Run.objects.values_list("status", flat=True)) == {"paused"}
    bulk.refresh_from_db()
    assert bulk.finished_at is not None


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize("site", ["second", "bare"])
def test_another_site_links_to_its_own_pages(admin_client: Client, bulk: BulkAction, site: str) -> None:
    run = Run.objects.latest("pk")
    go_so_far(bulk, refused=1, refusals={str(run.pk): "no"})
    text = admin_client.get(change_url(bulk, site=f"/{site}")).text
    assert f'data-url="{change_url(bulk, "live", site=f"/{site}")}"' in text
    assert f'formaction="{change_url(bulk, "go-on", site=f"/{site}")}"' in text
    assert ("/run/" in text) == (site == "second")
    assert 'href="/admin/' not in text


@override_settings(ROOT_URLCONF=__name__)
def test_a_site_without_a_page_for_it_says_that_it_is_under_way(
    admin_client: Client, bulk: BulkAction
) -> None:
    BulkAction.objects.all().delete()
    address = "/runs/django_workflow/run/bulk/pause/?workflow=shop"
    page = admin_client.post(address, {"note": ""}, follow=True)
    assert page.redirect_chain == [("/runs/django_workflow/run/?workflow=shop", 302)]
    assert "Pause: 3 runs" in page.text
    assert BulkAction.objects.count() == 1


def test_an_unchanged_part_is_not_for_who_may_not_see_it_any_more(login: Login, bulk: BulkAction) -> None:
    client, url = login("view_run"), change_url(bulk, "live")
    etag = client.get(url).headers["ETag"]
    assert client.get(url, headers={"if-none-match": etag}).status_code == 304
    User.objects.get(username="staff").user_permissions.clear()
    assert client.get(url, headers={"if-none-match": etag}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_runs_that_failed_again_are_shown(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    for _ in range(2):
        make_run({"name": "broken", "type": "admintest.fail"})
    page = client.post("/admin/django_workflow/run/bulk/retry/", {"note": ""}, follow=True)
    assert "Of these, failed" in page.text
    assert (page.context["page"].failed, page.context["page"].bulk.done) == (2, 2)
