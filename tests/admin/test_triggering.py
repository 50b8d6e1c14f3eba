"""The form that starts a run: from the declared input, for who may, of rows that they may view."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.db import connections
from django.test import Client

from django_workflow import define
from django_workflow.admin import picking
from django_workflow.models import Run, Source, Workflow, WorkflowVersion
from tests.support.admin_step_types import change_url
from tests.testapp.models import Order

from .conftest import Login

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

ECHO = {"name": "echo", "type": "admintest.echo"}
INPUT = {
    "order": "testapp.Order",
    "quantity": {"type": "int", "default": 1},
    "kind": {"type": "str", "choices": ["letter", "parcel"]},
    "on": {"type": "date", "required": False},
    "key": {"type": "str", "required": False},
}


@pytest.fixture
def order() -> Order:
    return Order.objects.create(number="A 17", total=Decimal("59.50"))


@pytest.fixture
def workflow() -> Workflow:
    return define("send", steps=[ECHO], input=INPUT)


def url(workflow: Workflow) -> str:
    return change_url(workflow, "trigger")


def test_a_run_is_started_from_the_declared_input(
    login: Login, workflow: Workflow, order: Order, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("trigger_workflow", "view_run", "testapp.view_order")
    page = client.get(url(workflow))
    assert "A 17" in page.text
    data = {"data.order": order.pk, "data.quantity": "3", "data.kind": "parcel", "key": "order-17"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(url(workflow), {**data, "data.on": "2030-05-01", "data.key": "inner"})
    run = Run.objects.get()
    assert answer.headers["Location"] == change_url(run)
    assert (run.status, run.key, run.source) == ("done", "order-17", Source.ADMIN)
    assert (run.triggered_by.username, run.subject) == ("staff", order)
    assert run.input["quantity"] == 3
    assert run.input["key"] == "inner"
    again = client.post(url(workflow), data, follow=True)
    assert "There is a run with this key already" in again.text
    assert Run.objects.count() == 1


def test_what_does_not_fit_is_told_beside_its_field_and_kept(
    login: Login, workflow: Workflow, order: Order
) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    page = client.post(url(workflow), {"data.order": order.pk, "data.quantity": "many", "key": "kept-key"})
    assert set(page.context["form"].errors) == {"data.quantity", "data.kind"}
    assert "kept-key" in page.text
    assert not Run.objects.exists()


@pytest.mark.parametrize("given", ["[1]", "{", '"text"'])
def test_free_input_is_a_json_object(login: Login, given: str) -> None:
    client = login("trigger_workflow")
    workflow = define("free", steps=[ECHO])
    page = client.post(url(workflow), {"data.input": given, "key": ""})
    assert page.context["form"].errors["data.input"]
    assert not Run.objects.exists()
    client.post(url(workflow), {"data.input": '{"a": [1]}', "key": ""})
    assert Run.objects.get().input == {"a": [1]}


@pytest.mark.parametrize("method", ["get", "post"])
def test_who_may_not_start_runs_is_refused(login: Login, workflow: Workflow, method: str) -> None:
    client = login("view_workflow", "change_workflow", "view_run", "control_run")
    assert getattr(client, method)(url(workflow)).status_code == 403
    assert url(workflow) not in client.get(change_url(workflow)).text


def test_rows_that_a_person_may_not_view_cannot_be_picked(
    login: Login, workflow: Workflow, order: Order
) -> None:
    client = login("trigger_workflow")
    page = client.get(url(workflow))
    assert "A 17" not in page.text
    assert "You may not view orders" in page.text
    page = client.post(url(workflow), {"data.order": order.pk, "data.quantity": "1", "data.kind": "parcel"})
    assert set(page.context["form"].errors) == {"data.order"}
    assert not Run.objects.exists()


def test_of_many_rows_the_key_is_typed(
    login: Login, workflow: Workflow, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "MOST_LISTED", 0)
    client = login("trigger_workflow", "testapp.view_order")
    page = client.get(url(workflow))
    assert "A 17" not in page.text
    assert 'href="/admin/testapp/order/?_to_field=id"' in page.text
    data = {"data.quantity": "1", "data.kind": "parcel"}
    page = client.post(url(workflow), {**data, "data.order": "404"})
    assert set(page.context["form"].errors) == {"data.order"}
    client.post(url(workflow), {**data, "data.order": str(order.pk)})
    assert Run.objects.get().subject == order


@pytest.mark.parametrize("most_listed", [0, 50])
def test_a_row_that_its_page_leaves_out_is_not_even_named(
    login: Login, workflow: Workflow, order: Order, monkeypatch: pytest.MonkeyPatch, most_listed: int
) -> None:
    monkeypatch.setattr(picking, "MOST_LISTED", most_listed)
    seen = Order.objects.create(number="B 1")
    rows = Order.objects.exclude(pk=order.pk)
    monkeypatch.setattr(admin.site.get_model_admin(Order), "get_queryset", lambda request: rows)
    client = login("trigger_workflow", "testapp.view_order")
    data = {"data.quantity": "1", "data.kind": "parcel"}
    for page in (
        client.get(url(workflow), {"data.order": order.pk}),
        client.post(url(workflow), {**data, "data.order": order.pk}),
    ):
        assert "A 17" not in page.text
    assert set(page.context["form"].errors) == {"data.order"}
    assert "B 1" in client.get(url(workflow), {"data.order": seen.pk}).text
    assert client.get(url(workflow), {"data.order": "odd"}).status_code == 200


def test_fields_begin_with_what_the_address_gives(login: Login) -> None:
    at = {"type": "datetime", "default": "2030-05-01T12:30:00+00:00"}
    declared = {
        "at": at,
        "till": {**at, "required": False},
        "fast": {"type": "bool", "default": True},
        "tags": "list",
    }
    workflow = define("typed", steps=[ECHO], input={**declared, "day": "date", "clock": "time"})
    given = {
        "data.fast": "false",
        "data.tags": '["a"]',
        "data.till": "2031-01-02T03:04",
        "data.day": "2030-05-01",
    }
    page = login("trigger_workflow").get(url(workflow), given)
    for shown in (
        'type="datetime-local" name="data.at" value="2030-05-01T12:30:00"',
        'type="datetime-local" name="data.till" value="2031-01-02T03:04:00"',
        'type="date" name="data.day" value="2030-05-01"',
        'type="time" name="data.clock"',
        "[&quot;a&quot;]",
    ):
        assert shown in page.text
    assert input_of(page.context["command"])["fast"] is False
    assert input_of(page.context["command"])["tags"] == ["a"]


def test_who_may_start_runs_but_see_nothing_is_not_led_to_closed_doors(
    login: Login, workflow: Workflow, draft: Workflow
) -> None:
    client = login("trigger_workflow")
    free = define("free", steps=[ECHO])
    for answer in (client.post(url(free), {"data.input": ""}), client.get(url(draft))):
        assert answer.headers["Location"] == "/admin/"
    page = client.get(url(free))
    assert "Started: " in page.text
    assert page.context["back"] == "/admin/"


def test_input_that_cannot_be_stored_is_told_and_kept(login: Login) -> None:
    workflow = define("free", steps=[ECHO])
    page = login("trigger_workflow").post(url(workflow), {"data.input": '{"steps": "kept"}', "key": ""})
    assert "this word has its own meaning" in page.text
    assert "kept" in page.context["form"]["data.input"].value()
    assert not Run.objects.exists()


def test_a_declared_model_that_is_gone_is_told(login: Login, workflow: Workflow) -> None:
    version = WorkflowVersion.objects.get()
    version.spec["input"]["order"] = "gone.Order"
    WorkflowVersion.objects.update(spec=version.spec)
    other = Workflow.objects.create(name="later", published=None)
    later = WorkflowVersion.objects.create(workflow=other, number=1, spec={**version.spec, "name": "later"})
    Workflow.objects.filter(pk=other.pk).update(published=later)
    page = login("trigger_workflow", "view_workflow").get(url(other), follow=True)
    assert "no installed app has the model" in page.text


@pytest.mark.django_db(transaction=True)
def test_a_run_is_started_where_a_request_is_one_transaction(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    workflow = define("free", steps=[ECHO])
    login("trigger_workflow").post(url(workflow), {"data.input": "", "key": "k"})
    assert Run.objects.get().status == "done"


@pytest.mark.urls("tests.admin.test_everywhere")
def test_a_second_site_keeps_the_person_who_started_a_run(admin_client: Client) -> None:
    workflow = define("free", steps=[ECHO])
    answer = admin_client.post(change_url(workflow, "trigger", site="/second"), {"data.input": ""})
    assert answer.headers["Location"] == change_url(Run.objects.get(), site="/second")


def test_a_workflow_that_is_off_says_so_first(login: Login, workflow: Workflow) -> None:
    Workflow.objects.update(enabled=False)
    client = login("trigger_workflow", "view_run")
    define("free", steps=[ECHO])
    Workflow.objects.update(enabled=False)
    free = Workflow.objects.get(name="free")
    assert "is switched off" in client.get(url(free)).text
    page = client.post(url(free), {"data.input": "", "key": ""}, follow=True)
    assert "cancelled from birth" in page.text


def test_a_draft_is_published_first(login: Login, draft: Workflow) -> None:
    client = login("trigger_workflow", "view_workflow")
    page = client.get(url(draft), follow=True)
    assert "Publish this workflow before you start it." in page.text


def test_the_form_is_filled_from_the_address(login: Login, workflow: Workflow) -> None:
    client = login("trigger_workflow")
    page = client.get(url(workflow), {"key": "order-9", "data.quantity": "7"})
    assert 'value="order-9"' in page.text
    assert 'value="7"' in page.text


def test_what_is_filled_in_is_shown_as_code_and_starts_nothing(
    login: Login, workflow: Workflow, order: Order
) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    data = {"data.order": order.pk, "data.quantity": "3", "data.kind": "it's", "_preview": "1"}
    page = client.post(url(workflow), {**data, "data.kind": "parcel", "data.on": "2030-05-01"})
    assert input_of(page.context["command"]) == {
        "order": order.pk,
        "quantity": 3,
        "kind": "parcel",
        "on": "2030-05-01",
    }
    assert not Run.objects.exists()


def input_of(command: str) -> Any:
    """Return the input that a command line gives."""
    words = shlex.split(command)
    return json.loads(words[words.index("--input") + 1])


def test_code_is_shown_for_what_the_form_begins_with(login: Login, workflow: Workflow) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    page = client.get(url(workflow), {"key": "it's", "data.on": "2030-05-01", "data.order": "404"})
    assert input_of(page.context["command"]) == {"quantity": 1, "kind": "letter", "on": "2030-05-01"}
    assert "date.fromisoformat('2030-05-01')" in page.context["python"]
    assert shlex.split(page.context["command"])[4:6] == ["--key", "it's"]


def test_code_is_shown_without_what_does_not_fit(login: Login, workflow: Workflow) -> None:
    client = login("trigger_workflow", "testapp.view_order")
    data = {"data.order": "404", "data.quantity": "many", "data.kind": "parcel", "_preview": "1"}
    page = client.post(url(workflow), data)
    assert input_of(page.context["command"]) == {"kind": "parcel"}
    assert "Without what does not fit:" in page.text
    assert set(page.context["form"].errors) == {"data.order", "data.quantity"}


def test_text_of_a_workflow_is_escaped(admin_client: Client) -> None:
    bad = "<script>alert(1)</script>"
    workflow = define("free", steps=[ECHO], description=bad)
    assert bad not in admin_client.get(url(workflow)).text


@pytest.mark.parametrize(
    ("kind", "default", "shown"),
    [
        ("datetime", "2024-05-06T07:08:09.123456+00:00", "2024-05-06T07:08:09.123456"),
        ("time", "07:08:09.123456", "07:08:09.123456"),
    ],
)
def test_a_default_s_microseconds_start_the_run_too(
    login: Login, kind: str, default: str, shown: str
) -> None:
    workflow = define("exact", steps=[ECHO], input={"at": {"type": kind, "default": default}})
    client = login("trigger_workflow")
    assert f'name="data.at" value="{shown}"' in client.get(url(workflow)).text
    client.post(url(workflow), {"data.at": shown, "key": ""})
    assert shown in str(Run.objects.get().input["at"])
