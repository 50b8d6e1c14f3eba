"""Steps whose type asks for a permission: who lacks it leaves them, and what they are given, as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_workflow.models import Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data

from .conftest import Login

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

EDIT = ("change_workflow", "delete_workflow", "publish_workflow")


@pytest.fixture
def guarded() -> Workflow:
    """A draft whose fourth step asks for a permission, and is given what the others do."""
    workflow = Workflow.objects.create(name="pay", input={"limit": {"type": "int", "default": 5}})
    steps: list[dict[str, Any]] = [
        {"name": "first", "type": "admintest.echo", "params": {"value": 1}},
        {"name": "second", "type": "admintest.echo", "params": {"value": "{{ steps.first }}"}},
        {"name": "keep", "type": "flow.set", "params": {"amount": "{{ steps.second }}"}},
        {"name": "pay", "type": "admintest.note", "params": {"text": "{{ amount }} of {{ limit }}"}},
        {"name": "beside", "type": "admintest.echo", "params": {"value": 1}},
    ]
    for position, step in enumerate(steps):
        workflow.steps.create(position=position, **step)
    return workflow


def refused(client: Client, workflow: Workflow, *changes: dict[str, Any], **fields: Any) -> Any:
    """Save the draft with changes; return what is refused, without having been saved."""
    rows = list(workflow.steps.values())
    data = form_data(workflow, *changes, **{"input": json.dumps(workflow.input), **fields})
    if client.post(change_url(workflow), data).status_code == 302:
        return {}
    assert list(workflow.steps.values()) == rows
    return errors_of(client, change_url(workflow), data)


def allow() -> None:
    User.objects.get().user_permissions.add(Permission.objects.get(codename="add_note"))


def test_deleting_such_a_step_needs_the_permission(login: Login, guarded: Workflow) -> None:
    client = login(*EDIT)
    errors = refused(client, guarded, {"at": 3, "DELETE": "on"})
    assert "needs the permission testapp.add_note" in errors["steps"][0]
    # What the browser sends with it changes nothing.
    errors = refused(client, guarded, {"at": 3, "DELETE": "on", "type": "admintest.echo"})
    assert "needs the permission testapp.add_note" in errors["steps"][0]
    allow()
    assert refused(client, guarded, {"at": 3, "DELETE": "on"}) == {}
    assert not guarded.steps.filter(name="pay").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"at": 0, "params": '{"value": 1000}'},
        {"at": 0, "condition": "total > 1"},
        {"at": 0, "for_each": "rows"},
        {"at": 0, "name": "other"},
        {"at": 1, "type": "admintest.fail", "params": ""},
        {"at": 2, "params": '{"amount": 1000}'},
        {"at": 2, "params": "{}"},
        {"type": "flow.set", "params": '{"limit": 1000}', "name": "more"},
    ],
)
def test_rewriting_what_feeds_such_a_step_needs_the_permission(
    login: Login, guarded: Workflow, change: dict[str, Any]
) -> None:
    client = login(*EDIT)
    [(place, texts)] = refused(client, guarded, dict(change)).items()
    assert place == f"steps-{change.get('at', 5)}-__all__"
    assert "needs the permission testapp.add_note" in texts[0]
    allow()
    assert refused(client, guarded, dict(change)) == {}


def test_deleting_what_feeds_such_a_step_needs_the_permission(login: Login, guarded: Workflow) -> None:
    client = login(*EDIT)
    [text] = refused(client, guarded, {"at": 1, "DELETE": "on"})["steps"]
    assert "needs the permission testapp.add_note" in text
    allow()
    assert refused(client, guarded, {"at": 1, "DELETE": "on"}) == {}


def test_the_input_of_such_a_step_needs_the_permission(login: Login, guarded: Workflow) -> None:
    client = login(*EDIT)
    declared = json.dumps({"limit": {"type": "int", "default": 1000}})
    [text] = refused(client, guarded, input=declared)["steps"]
    assert "needs the permission testapp.add_note" in text
    allow()
    assert refused(client, guarded, input=declared) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"at": 4, "params": '{"value": 2}'},
        {"at": 4, "DELETE": "on"},
        {"at": 4, "position": "0"},
        {"at": 0, "timeout": "30s"},
        {"type": "flow.set", "params": '{"other": 1}', "name": "more"},
        {"type": "admintest.echo", "params": '{"value": "{{ steps.pay }}"}', "name": "more"},
    ],
)
def test_what_feeds_no_such_step_is_free(login: Login, guarded: Workflow, change: dict[str, Any]) -> None:
    assert refused(login(*EDIT), guarded, change) == {}


def test_deleting_a_workflow_with_such_a_step_needs_the_permission(
    login: Login, guarded: Workflow, draft: Workflow
) -> None:
    client = login(*EDIT)
    assert client.post(change_url(guarded, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [guarded.pk], "post": "yes"}
    assert client.post("/admin/django_workflow/workflow/", chosen).status_code in (200, 403)
    assert Workflow.objects.filter(pk=guarded.pk).exists()
    assert client.post(change_url(draft, "delete"), {"post": "yes"}).status_code == 302
    allow()
    assert client.post(change_url(guarded, "delete"), {"post": "yes"}).status_code == 302
