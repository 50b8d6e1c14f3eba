"""Runs on the pages of a project's own models."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_workflow import define, trigger
from django_workflow.admin import RunAdmin, WorkflowAdmin, WorkflowSubjectMixin
from django_workflow.insight.taking import find_taking
from django_workflow.models import Run, Source, Workflow
from tests.support.admin_step_types import change_url
from tests.testapp.models import Customer, Order

from .conftest import Login

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

ECHO = {"name": "echo", "type": "admintest.echo"}


class OrderAdmin(WorkflowSubjectMixin, admin.ModelAdmin):
    list_display = ("number",)
    fields = ("number", "total")


site = AdminSite("shop")
site.register(Order, OrderAdmin)
site.register(Run, RunAdmin)
site.register(Workflow, WorkflowAdmin)
# A site for the project's own rows only.
sparse_site = AdminSite("sparse")
sparse_site.register(Order, OrderAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("shop/", site.urls),
    path("sparse/", sparse_site.urls),
]
LIST = "/shop/testapp/order/"


@pytest.fixture
def orders() -> list[Order]:
    return [Order.objects.create(number=f"A {number}") for number in range(3)]


def page_of(order: Order) -> str:
    return f"{LIST}{order.pk}/change/"


def test_the_page_of_a_row_shows_its_runs(login: Login, orders: list[Order]) -> None:
    client = login("view_run", "testapp.change_order", "testapp.view_order")
    define("send", steps=[ECHO])
    run = trigger("send", subject=orders[0])
    other = trigger("send", subject=orders[1])
    text = client.get(page_of(orders[0])).text
    assert change_url(run, site="/shop") in text
    assert change_url(other, site="/shop") not in text
    assert "There are no runs about it." in client.get(page_of(orders[2])).text
    saved = client.post(page_of(orders[0]), {"number": "B 1", "total": "5"})
    assert saved.status_code == 302
    assert Order.objects.get(pk=orders[0].pk).number == "B 1"


def test_many_runs_cost_no_more_and_lead_to_the_list(login: Login, orders: list[Order]) -> None:
    client = login("view_run", "testapp.view_order")
    define("send", steps=[ECHO])
    for _ in range(12):
        trigger("send", subject=orders[0])
    with CaptureQueriesContext(connection) as queries:
        text = client.get(page_of(orders[0])).text
    assert sum("django_workflow_run" in each["sql"] for each in queries) == 1
    assert f"/shop/django_workflow/run/?about=testapp.order%3A{orders[0].pk}" in text


def test_the_page_of_a_row_leads_to_forms_that_have_it_filled_in(login: Login, orders: list[Order]) -> None:
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    client = login("view_run", "trigger_workflow", "testapp.view_order")
    text = client.get(page_of(orders[1])).text
    [start] = re.findall(r'<a href="([^"]+)">send \(order\)</a>', text)
    assert start.startswith("/shop/django_workflow/workflow/")
    assert f'<option value="{orders[1].pk}" selected>' in client.get(start).text
    client.post(start, {"data.order": orders[1].pk, "key": ""})
    assert Run.objects.get().subject == orders[1]


def test_who_may_not_start_runs_is_led_to_no_form(login: Login, orders: list[Order]) -> None:
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    assert "send (order)" not in login("view_run", "testapp.view_order").get(page_of(orders[0])).text


def test_a_site_without_runs_leads_nowhere(login: Login, orders: list[Order]) -> None:
    client = login("view_run", "trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    for _ in range(11):
        trigger("send", {"order": orders[0]}, subject=orders[0])
    text = client.get(f"/sparse/testapp/order/{orders[0].pk}/change/").text
    assert text.count("<td>send</td>") == 10
    assert "django_workflow/run" not in text
    data = {"action": "run_workflow", "_selected_action": [orders[0].pk], "confirmed": "1"}
    page = client.post("/sparse/testapp/order/", data, follow=True)
    assert "Started: " in page.text
    assert 'href=""' not in page.text


def test_text_of_a_row_is_escaped(login: Login) -> None:
    bad = Order.objects.create(number="<b>17</b>")
    client = login("view_run", "trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order", "kind": "str"})
    assert "<b>17" not in client.get(page_of(bad)).text
    page = client.post(LIST, {"action": "run_workflow", "_selected_action": [bad.pk]})
    assert "1 run is started, about:" in page.text
    assert "<b>17" not in page.text


def test_who_may_not_see_runs_sees_none(login: Login, orders: list[Order]) -> None:
    client = login("testapp.view_order")
    define("send", steps=[ECHO])
    trigger("send", subject=orders[0])
    assert "Workflow runs" not in client.get(page_of(orders[0])).text


def test_the_add_form_is_as_it_was(login: Login) -> None:
    client = login("view_run", "testapp.add_order")
    assert "Workflow runs" not in client.get(f"{LIST}add/").text


def test_workflows_that_take_such_a_row_are_known() -> None:
    define("one", steps=[ECHO], input={"order": "testapp.Order", "other": {"type": "testapp.order"}})
    define("two", steps=[ECHO], input={"customer": "testapp.Customer"})
    define("free", steps=[ECHO])
    define("off", steps=[ECHO], input={"order": "testapp.Order"})
    Workflow.objects.filter(name="off").update(enabled=False)
    assert [each.value for each in find_taking(Order)] == ["one:order", "one:other"]
    assert [each.value for each in find_taking(Customer)] == ["two:customer"]


def actions_of(client: Client) -> str:
    return client.get(LIST).text


def test_the_action_is_there_where_a_workflow_takes_such_rows(login: Login, orders: list[Order]) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    assert "Run a workflow…" not in actions_of(client)
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    assert "Run a workflow…" in actions_of(client)
    popup = client.get(LIST, {"_popup": "1"})
    assert "Run a workflow…" not in popup.text


def test_the_list_asks_once_which_workflows_take_such_rows(login: Login, orders: list[Order]) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)
    assert sum("django_workflow_workflowversion" in each["sql"] for each in queries) == 1


def test_a_run_is_started_about_each_chosen_row(
    login: Login, orders: list[Order], django_capture_on_commit_callbacks: Any
) -> None:
    client = login("trigger_workflow", "testapp.view_order", "view_run")
    define("send", steps=[ECHO], input={"order": "testapp.Order", "kind": "str"})
    define("bill", steps=[ECHO], input={"order": "testapp.Order"})
    chosen = {"action": "run_workflow", "_selected_action": [order.pk for order in orders[:2]]}
    page = client.post(LIST, chosen)
    assert "send (order)" in page.text
    assert "bill (order)" in page.text
    chosen["workflow_and_field"] = "send:order"
    page = client.post(LIST, chosen)
    assert "2 runs are started, one about each of:" in page.text
    assert "data.kind" in page.text
    page = client.post(LIST, {**chosen, "confirmed": "1", "data.kind": ""})
    assert page.context["form"].errors
    assert not Run.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        page = client.post(LIST, {**chosen, "confirmed": "1", "data.kind": "parcel"}, follow=True)
    assert {run.subject for run in Run.objects.all()} == set(orders[:2])
    assert set(Run.objects.values_list("source", "status")) == {(Source.ADMIN, "done")}
    assert "Started:" in page.text


def test_a_crafted_action_without_the_permission_starts_nothing(login: Login, orders: list[Order]) -> None:
    client = login("testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    data = {"action": "run_workflow", "_selected_action": [orders[0].pk], "confirmed": "1"}
    answer = client.post(LIST, {**data, "workflow_and_field": "send:order"})
    assert answer.status_code == 403
    assert not Run.objects.exists()


def test_where_one_run_cannot_be_started_none_is(
    login: Login, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})

    def delete_last(page: OrderAdmin, request: Any, row: Order | None = None) -> bool:
        if row == orders[0]:
            row.delete()
        return True

    # The list begins with the latest, so that the others are started before.
    monkeypatch.setattr(OrderAdmin, "has_view_permission", delete_last)
    data = {"action": "run_workflow", "_selected_action": [order.pk for order in orders], "confirmed": "1"}
    page = client.post(LIST, data)
    assert page.context["form"].errors
    assert not Run.objects.exists()


def test_rows_that_may_not_be_viewed_start_nothing(
    login: Login, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    monkeypatch.setattr(OrderAdmin, "has_view_permission", lambda page, request, row=None: row != orders[1])
    data = {"action": "run_workflow", "_selected_action": [order.pk for order in orders], "confirmed": "1"}
    assert client.post(LIST, data).status_code == 403
    assert not Run.objects.exists()


def test_too_many_rows_at_once_are_refused(
    login: Login, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_workflow.admin.subject_action.MOST", 2)
    client = login("trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    data = {"action": "run_workflow", "_selected_action": [order.pk for order in orders], "confirmed": "1"}
    page = client.post(LIST, {**data, "workflow_and_field": "send:order"}, follow=True)
    assert "At most 2 rows at once" in page.text
    assert not Run.objects.exists()


@override_settings(DJANGO_WORKFLOW={"QUEUE": None})
def test_a_workflow_that_does_not_take_the_row_cannot_be_named(login: Login, orders: list[Order]) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    define("send", steps=[ECHO], input={"order": "testapp.Order"})
    define("other", steps=[ECHO])
    data = {"action": "run_workflow", "_selected_action": [orders[0].pk], "confirmed": "1"}
    page = client.post(LIST, {**data, "workflow_and_field": "other:order"})
    assert "send (order)" in page.text
    assert not Run.objects.exists()
