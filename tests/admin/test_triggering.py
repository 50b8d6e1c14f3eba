"""The form that starts a run: from the declared input, for who may, of rows that they may view."""

from __future__ import annotations

import json
import shlex
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, override_settings

from django_workflow import define
from django_workflow.admin import picking
from django_workflow.insight.as_code import as_command, as_python
from django_workflow.models import Run, Source, Workflow
from tests.testapp.models import Order

from .conftest import Login
from .step_types import change_url

pytestmark = pytest.mark.django_db

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
    words = shlex.split(page.context["command"])
    assert json.loads(words[words.index("--input") + 1]) == {
        "order": order.pk,
        "quantity": 3,
        "kind": "parcel",
        "on": "2030-05-01",
    }
    assert not Run.objects.exists()


def test_code_that_is_shown_does_the_same(order: Order, workflow: Workflow) -> None:
    given = {"order": order, "quantity": 2, "kind": "parcel", "on": date(2030, 5, 1)}
    names: dict[str, Any] = {}
    exec(as_python("send", given, "it's"), names)
    assert (names["run"].key, names["run"].input["quantity"]) == ("it's", 2)
    odd = {"text": "it's", "amount": Decimal("1.50"), "pause": timedelta(hours=2), "many": [{"a": None}]}
    exec(as_python(define("free", steps=[ECHO]).name, odd, ""), names)
    command = shlex.split(as_command("free", odd, "k"))
    assert json.loads(command[-1]) == {
        "text": "it's",
        "amount": "1.50",
        "pause": "2h",
        "many": [{"a": None}],
    }


@override_settings(ATOMIC_REQUESTS=True)
def test_text_of_a_workflow_is_escaped(admin_client: Client) -> None:
    bad = "<script>alert(1)</script>"
    workflow = define("free", steps=[ECHO], description=bad)
    assert bad not in admin_client.get(url(workflow)).text
