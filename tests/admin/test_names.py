"""The name of a workflow: what triggers it knows it by its name, so a published one keeps it."""

from __future__ import annotations

import pytest
from django.test import Client

from django_workflow import define, trigger
from django_workflow.models import ManagedBy, Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data

from .conftest import Login

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

STEPS = [
    {"name": "first", "type": "admintest.echo", "with": {"value": {"b": [1]}}, "retry": {"attempts": 3}},
    {"name": "second", "type": "admintest.echo", "needs": [], "undo": {"type": "admintest.echo"}},
]


@pytest.fixture
def published() -> Workflow:
    workflow = define("welcome", steps=STEPS, description="Says hello", input={"who": "str"}, timeout="2h")
    Workflow.objects.filter(pk=workflow.pk).update(managed_by=ManagedBy.STAFF)
    workflow.refresh_from_db()
    return workflow


def test_a_published_workflow_keeps_its_name(editor: Client, published: Workflow) -> None:
    page = editor.get(change_url(published))
    assert "name" not in page.context["adminform"].form.fields
    assert "Duplicate" in page.text
    data = form_data(published, name="greeting", description="Says more")
    errors = errors_of(editor, change_url(published), data)
    assert "“greeting”" in errors["__all__"][0]
    workflow = Workflow.objects.get()
    assert (workflow.name, workflow.description) == ("welcome", "Says hello")
    assert trigger("welcome", {"who": "Anna"}).was_created


def test_a_draft_that_was_never_published_can_be_renamed(editor: Client, draft: Workflow) -> None:
    editor.post(change_url(draft), form_data(draft, name="other"))
    assert Workflow.objects.get().name == "other"


def test_a_published_workflow_is_saved_without_its_name(editor: Client, published: Workflow) -> None:
    data = form_data(published, description="Says more")
    del data["name"]
    editor.post(change_url(published), data)
    workflow = Workflow.objects.get()
    assert (workflow.name, workflow.description) == ("welcome", "Says more")


@pytest.mark.parametrize("owner", ManagedBy.values)
def test_a_duplicate_is_a_draft_of_staff_under_another_name(
    editor: Client, published: Workflow, owner: str
) -> None:
    Workflow.objects.filter(pk=published.pk).update(managed_by=owner, source="shop/workflows/a.yaml")
    url = change_url(published, "duplicate")
    assert url in editor.get(change_url(published)).text
    assert "staff" in editor.get(url).text
    assert Workflow.objects.count() == 1
    response = editor.post(url, {"name": "greeting"})
    copy = Workflow.objects.get(name="greeting")
    assert response.headers["Location"] == change_url(copy)
    assert copy.as_definition() == published.as_definition() | {"name": "greeting"}
    assert (copy.managed_by, copy.source, copy.published) == (ManagedBy.STAFF, "", None)
    published.refresh_from_db()
    assert published.name == "welcome"


@pytest.mark.parametrize("name", ["", "welcome", "two words"])
def test_a_duplicate_needs_a_name_that_is_free(editor: Client, published: Workflow, name: str) -> None:
    page = editor.post(change_url(published, "duplicate"), {"name": name})
    assert page.status_code == 200
    assert page.context["form"].errors["name"]
    assert Workflow.objects.count() == 1


@pytest.mark.parametrize("permissions", [["view_workflow", "add_workflow"], ["change_workflow"]])
def test_a_duplicate_is_for_who_may_change_the_one_and_add_another(
    login: Login, published: Workflow, permissions: list[str]
) -> None:
    client = login(*permissions)
    url = change_url(published, "duplicate")
    assert url not in client.get(change_url(published)).text
    assert client.post(url, {"name": "greeting"}).status_code == 403
    assert Workflow.objects.count() == 1


def test_a_duplicate_takes_the_permissions_of_its_step_types(login: Login, published: Workflow) -> None:
    published.steps.filter(name="second").update(type="admintest.note", params={})
    client = login("add_workflow", "change_workflow")
    page = client.post(change_url(published, "duplicate"), {"name": "greeting"})
    assert "testapp.add_note" in page.context["form"].errors["__all__"][0]
    assert Workflow.objects.count() == 1


def test_an_undo_takes_the_permission_of_its_type_too(login: Login, published: Workflow) -> None:
    published.steps.filter(name="second").update(undo={"type": "admintest.note"})
    client = login("add_workflow", "change_workflow")
    page = client.post(change_url(published, "duplicate"), {"name": "greeting"})
    assert "testapp.add_note" in page.context["form"].errors["__all__"][0]


def test_there_is_no_duplicate_of_a_workflow_that_is_gone(editor: Client, published: Workflow) -> None:
    url = change_url(published, "duplicate")
    published.delete()
    assert editor.get(url).status_code == 404
