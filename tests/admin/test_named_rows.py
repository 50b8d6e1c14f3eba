"""A row that a person names by its key, in whatever form, is one that they may view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest
from django import forms
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from django_workflow import define, trigger
from django_workflow.links import ApprovalLink, link_url
from django_workflow.models import Run, Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data
from tests.testapp.models import Order

from .conftest import Login, MakeRun

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

EDIT = ("add_workflow", "change_workflow", "publish_workflow")
OPERATE = ("view_run", "control_run", "view_run_payload")
VIEW = "testapp.view_order"
ADD = "/admin/django_workflow/workflow/add/"


class OrderForm(forms.Form):
    order = forms.ModelChoiceField(Order.objects.all())
    by_number = forms.ModelChoiceField(Order.objects.all(), to_field_name="number", required=False)
    many = forms.ModelMultipleChoiceField(Order.objects.all(), required=False)


class Parcel(TypedDict):
    order: Order


@pytest.fixture(autouse=True)
def types(register: Callable[..., Any]) -> None:
    def take(
        order: Order | None = None,
        orders: list[Order] | None = None,
        named: dict[str, Order] | None = None,
        parcel: Parcel | None = None,
        text: str | Order = "",
    ) -> None: ...

    def take_form(order: Order, **more: Any) -> None: ...

    # The annotations of a function inside another are not found by their names.
    take.__annotations__ |= {"order": Order | None, "orders": list[Order] | None}
    take.__annotations__ |= {"named": dict[str, Order] | None, "text": str | Order, "parcel": Parcel | None}
    register("named.take")(take)
    register("named.form", form=OrderForm)(take_form)


@pytest.fixture
def order() -> Order:
    return Order.objects.create(number="A 17")


def naming(order: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "named.take", {"order": order}
    yield "named.take", {"order": str(order)}
    yield "named.take", {"order": f"{{{{ {order} }}}}"}
    yield "named.take", {"order": f'{{{{ "{order}" }}}}'}
    yield "named.take", {"orders": [order]}
    yield "named.take", {"named": {"a": order}}
    yield "named.take", {"parcel": {"order": order}}
    yield "named.take", {"text": order}
    yield "named.form", {"order": order}
    yield "named.form", {"order": "{{ order }}", "by_number": "A 17" if order < 1000 else "B"}
    yield "named.form", {"order": "{{ order }}", "many": [order]}
    yield "flow.call", {"workflow": "child", "input": {"order": order}}
    yield "flow.call", {"workflow": '{{ "child" }}', "input": {"order": order}}
    for key in ("default", "initial"):
        form = {"order": {"type": "testapp.Order", key: order}}
        yield "flow.approval", {"permission": "testapp.add_note", "form": form}


def saved(client: Client, type: str, params: Any, **fields: Any) -> dict[str, list[str]]:
    """Save a draft of one step; return what is refused."""
    data = form_data(None, {"name": "take", "type": type, "params": json.dumps(params)}, **fields)
    if client.post(ADD, data).status_code == 302:
        return {}
    return errors_of(client, ADD, data)


@pytest.mark.parametrize("at", range(len(list(naming(1)))))
def test_a_step_names_only_rows_that_its_editor_may_view(login: Login, order: Order, at: int) -> None:
    client = login(*EDIT)
    type, params = list(naming(order.pk))[at]
    refused = saved(client, type, params)
    assert list(refused) == ["steps-0-params"]
    assert "that you may view." in refused["steps-0-params"][0]
    # What is not there is refused in the same words.
    gone = saved(client, *list(naming(99_999))[at])
    assert (
        gone["steps-0-params"][0].replace("99999", str(order.pk)).replace("'B'", "'A 17'")
        == (refused["steps-0-params"][0])
    )
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_order"))
    assert saved(client, type, params) == {}


@pytest.fixture(autouse=True)
def child() -> Workflow:
    step = {"name": "echo", "type": "admintest.echo"}
    return define("child", steps=[step], input={"order": "testapp.Order"})


@pytest.mark.parametrize(
    "params",
    [
        {"order": "{{ order }}"},
        {"order": "{{ order.customer }}", "text": "7"},
        {"orders": "{{ steps.find }}"},
        {"order": ""},
        {"order": None},
    ],
)
def test_what_names_no_row_is_saved_by_every_editor(login: Login, order: Order, params: Any) -> None:
    assert saved(login(*EDIT), "named.take", params) == {}


@pytest.mark.parametrize("key", ["default", "initial"])
def test_a_declared_input_falls_back_on_rows_that_its_editor_may_view(
    login: Login, order: Order, key: str
) -> None:
    client = login(*EDIT)
    declared = json.dumps({"order": {"type": "testapp.Order", key: order.pk}, "broken": 7})
    refused = saved(client, "named.take", {}, input=declared)
    assert refused == {"input": [f"order: {order.pk} is no order that you may view."]}
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_order"))
    assert saved(client, "named.take", {}, input=declared) == {}


def test_what_another_editor_has_named_stays(login: Login, order: Order, draft: Workflow) -> None:
    draft.input = {"order": {"type": "testapp.Order", "default": order.pk}}
    draft.save()
    draft.steps.create(position=2, name="take", type="named.take", params={"order": order.pk})
    client, url = login(*EDIT), change_url(draft)
    data = form_data(draft, description="other words", input=json.dumps(draft.input))
    assert client.post(url, data).status_code == 302
    assert list(errors_of(client, url, form_data(draft, {"at": 2, "condition": "total > 2"}))) == [
        "steps-2-params"
    ]


def test_a_restart_takes_only_rows_that_the_operator_may_view(
    login: Login, order: Order, child: Workflow, django_capture_on_commit_callbacks: Any
) -> None:
    other = Order.objects.create(number="B 18")
    with django_capture_on_commit_callbacks(execute=True):
        run = trigger("child", {"order": order})
    client, url = login(*OPERATE), change_url(run, "restart")

    def restart(pk: int, **data: str) -> Any:
        return client.post(url, {"input": json.dumps({"order": pk}), "confirmed": "1", **data})

    for data in ({}, {"newest": "on"}):
        for pk in (other.pk, 99_999):
            assert f"order: {pk} is no order that you may view." in restart(pk, **data).text
    assert Run.objects.count() == 1
    # The row that the run is about already is not named by the operator.
    assert restart(order.pk).status_code == 302
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_order"))
    assert restart(other.pk).status_code == 302
    assert Run.objects.count() == 3


@pytest.mark.parametrize("place", ["inbox", "link"])
def test_an_answer_names_only_rows_that_the_person_may_view(
    login: Login, make_run: MakeRun, order: Order, settings: Any, place: str
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    client = login()
    user = User.objects.get()
    ask = {"users": ["staff"], "form": {"order": "testapp.Order"}}
    row = make_run({"name": "ask", "type": "flow.approval", "with": ask}).step_runs.get()
    url = reverse("admin:django_workflow_approval_answer", args=[row.pk])
    if place == "link":
        link = ApprovalLink(using="default", step_run_id=row.pk, user=str(user.pk))
        url = link_url(link).removeprefix("https://shop.example")
    for key in (order.pk, 99_999, "x"):
        page = client.post(url, {"verdict": "approve", "data.order": key})
        assert page.status_code == 200
        assert "may view" in page.text or "may not view" in page.text
    user.user_permissions.add(Permission.objects.get(codename="view_order"))
    assert client.post(url, {"verdict": "approve", "data.order": order.pk}).status_code == 302
    assert row.answers.get().data == {"order": {"$model": "testapp.order", "pk": order.pk}}


def test_a_row_is_read_by_who_may_view_just_that_one(
    make_run: MakeRun, order: Order, settings: Any, client: Client
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        f"{__name__}.OneOrder",
    ]
    user = User.objects.create_user("one")
    form = {"order": {"type": "testapp.Order", "required": False}}
    run = make_run({"name": "ask", "type": "flow.approval", "with": {"users": ["one"], "form": form}})
    row = run.step_runs.get()
    link = link_url(ApprovalLink(using="default", step_run_id=row.pk, user=str(user.pk)))
    url, other = link.removeprefix("https://shop.example"), Order.objects.create(number="B 18")
    page = client.post(url, {"verdict": "approve", "data.order": other.pk})
    assert f"{other.pk} is no order that you may view." in page.text
    assert client.post(url, {"verdict": "approve", "data.order": order.pk}).status_code == 302


class OneOrder:
    """A backend that knows permissions for single rows."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: User, permission: str, row: Any = None) -> bool:
        return permission == VIEW and getattr(row, "number", "") == "A 17"
