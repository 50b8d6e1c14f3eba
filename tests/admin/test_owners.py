"""Who may write a workflow in the admin, and which steps."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_workflow import define
from django_workflow.models import ManagedBy, Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data

from .conftest import Login, MakeRun

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

STEP = {"name": "only", "type": "admintest.echo", "with": {"value": 1}}


@pytest.fixture
def owned_by_code() -> Workflow:
    return define("shop", steps=[STEP])


def test_a_workflow_of_code_is_shown_and_its_draft_cannot_be_written(
    editor: Client, owned_by_code: Workflow
) -> None:
    page = editor.get(change_url(owned_by_code))
    assert "admintest.echo" in page.text
    assert "Save and publish" not in page.text
    data = form_data(owned_by_code, {"at": 0, "type": "mail.send"}, {"type": "mail.send"}, description="new")
    before = owned_by_code.as_definition()
    editor.post(change_url(owned_by_code), data)
    assert Workflow.objects.get().as_definition() == before


def test_the_switch_of_a_workflow_of_code_is_staffs(editor: Client, owned_by_code: Workflow) -> None:
    data = form_data(owned_by_code)
    del data["enabled"]
    assert editor.post(change_url(owned_by_code), data).status_code == 302
    workflow = Workflow.objects.get()
    assert not workflow.enabled
    assert workflow.as_definition() == owned_by_code.as_definition()


def test_publishing_a_workflow_of_code_is_refused(editor: Client, owned_by_code: Workflow) -> None:
    response = editor.post(change_url(owned_by_code), form_data(owned_by_code, _publish="1"))
    assert response.status_code == 403


def test_edit_here_asks_and_then_hands_the_workflow_to_staff(editor: Client, owned_by_code: Workflow) -> None:
    url = change_url(owned_by_code, "edit-here")
    assert url in editor.get(change_url(owned_by_code)).text
    assert "Staff will own" in editor.get(url).text
    assert Workflow.objects.get().managed_by == ManagedBy.CODE
    editor.post(url)
    assert Workflow.objects.get().managed_by == ManagedBy.STAFF
    page = editor.get(change_url(owned_by_code)).text
    assert url not in page
    assert "Save and publish" in page
    define("shop", steps=[{**STEP, "with": {"value": 2}}])
    assert Workflow.objects.get().steps.get().params == {"value": 1}


def test_edit_here_needs_the_permission_to_change(login: Login, owned_by_code: Workflow) -> None:
    client = login("view_workflow")
    url = change_url(owned_by_code, "edit-here")
    assert url not in client.get(change_url(owned_by_code)).text
    assert client.get(url).status_code == 403
    assert client.post(url).status_code == 403
    assert Workflow.objects.get().managed_by == ManagedBy.CODE


def test_who_may_only_view_a_draft_sees_it_and_writes_nothing(login: Login, draft: Workflow) -> None:
    client = login("view_workflow")
    page = client.get(change_url(draft))
    assert "total &gt; 1" in page.text
    assert "_publish" not in page.text
    assert "_save" not in page.text
    assert client.post(change_url(draft), form_data(draft, {"type": "mail.send"})).status_code == 403
    assert draft.steps.count() == 2


def test_publishing_needs_its_own_permission(login: Login, draft: Workflow) -> None:
    client = login("change_workflow", "view_workflow")
    assert "Save and publish" not in client.get(change_url(draft)).text
    data = form_data(draft, {"at": 1, "condition": "", "name": "renamed"}, _publish="1")
    assert client.post(change_url(draft), data).status_code == 403
    assert Workflow.objects.get().published is None
    assert draft.steps.last().name == "second"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "admintest.note"},
        {"at": 1, "type": "admintest.note"},
        {"at": 0, "params": '{"text": "other"}'},
        {"at": 0, "type": "admintest.echo"},
        {"at": 0, "position": "2"},
    ],
)
def test_a_step_type_with_a_permission_is_only_for_who_has_it(
    login: Login, draft: Workflow, change: dict[str, str]
) -> None:
    draft.steps.filter(name="first").update(type="admintest.note", params={"text": "one"})
    client = login("change_workflow", "view_workflow")
    data = form_data(draft, dict(change))
    [(field, [text])] = errors_of(client, change_url(draft), data).items()
    assert field == f"steps-{change.get('at', 2)}-type"
    assert "testapp.add_note" in text


def test_who_has_the_permission_of_a_type_may_add_it(login: Login, draft: Workflow) -> None:
    client = login("change_workflow", "view_workflow", "testapp.add_note")
    client.post(change_url(draft), form_data(draft, {"type": "admintest.note"}))
    assert draft.steps.last().type == "admintest.note"


def test_other_steps_may_be_changed_beside_a_restricted_one(login: Login, draft: Workflow) -> None:
    draft.steps.filter(name="first").update(type="admintest.note", params={"text": "one"})
    client = login("change_workflow", "view_workflow")
    client.post(change_url(draft), form_data(draft, {"at": 1, "condition": "total > 2"}))
    assert draft.steps.last().condition == "total > 2"


def test_a_workflow_with_runs_cannot_be_deleted(editor: Client, make_run: MakeRun) -> None:
    run = make_run(STEP)
    page = editor.get(change_url(run.workflow, "delete"))
    assert "protected" in page.text
    editor.post(change_url(run.workflow, "delete"), {"post": "yes"})
    assert Workflow.objects.exists()


def test_a_workflow_without_runs_is_deleted_with_its_steps_and_versions(
    editor: Client, owned_by_code: Workflow
) -> None:
    editor.post(change_url(owned_by_code, "delete"), {"post": "yes"})
    assert not Workflow.objects.exists()


def test_versions_are_listed_and_read_only(editor: Client, owned_by_code: Workflow) -> None:
    version = owned_by_code.published
    list_url = f"/admin/django_workflow/workflowversion/?workflow__id__exact={owned_by_code.pk}"
    assert list_url in editor.get(change_url(owned_by_code)).text
    assert change_url(version) in editor.get(list_url).text
    page = editor.get(change_url(version))
    assert "&quot;type&quot;: &quot;admintest.echo&quot;" in page.text
    assert editor.post(change_url(version), {"number": 7}).status_code == 403
    assert editor.get("/admin/django_workflow/workflowversion/add/").status_code == 403
    assert editor.get(change_url(version, "delete")).status_code == 403


def test_a_workflow_of_code_shows_no_empty_step_to_fill_in(editor: Client, owned_by_code: Workflow) -> None:
    page = editor.get(change_url(owned_by_code))
    [inline] = page.context["inline_admin_formsets"]
    assert [form.instance.name for form in inline.formset.forms] == ["only"]
    for name in ("type", "params", "condition"):
        assert f'name="steps-1-{name}"' not in page.text
        assert f'name="steps-__prefix__-{name}"' not in page.text


def test_what_is_sent_to_a_workflow_of_code_is_refused_and_not_called_saved(
    editor: Client, owned_by_code: Workflow
) -> None:
    data = form_data(owned_by_code, {"name": "more", "type": "mail.send"}, description="new")
    page = editor.post(change_url(owned_by_code), data | {"revision": "draft:"}, follow=True)
    assert "successfully" not in page.text
    assert owned_by_code.steps.count() == 1


SECRET = "sk_live_999"
HIDING: dict[str, Any] = {
    "input": {"api_key": {"type": "str", "default": SECRET}, "shop": {"type": "str", "default": "shown 1"}},
    "steps": [
        {
            "name": "only",
            "type": "admintest.echo",
            "with": {"value": {"token": SECRET, "auth": {"user": SECRET}, "plain": "shown 2"}},
        }
    ],
}


def test_a_draft_that_may_only_be_read_does_not_show_what_is_hidden(login: Login, draft: Workflow) -> None:
    draft.input = HIDING["input"]
    draft.save()
    draft.steps.filter(name="first").update(params=HIDING["steps"][0]["with"])
    text = login("view_workflow").get(change_url(draft)).text
    assert SECRET not in text
    assert "shown 1" in text
    assert "shown 2" in text


def test_what_code_owns_does_not_show_what_is_hidden(editor: Client) -> None:
    workflow = define("shop", **HIDING)
    for page in (workflow, workflow.published):
        text = editor.get(change_url(page)).text
        assert SECRET not in text
        assert "shown 1" in text
        assert "shown 2" in text


def test_who_writes_a_draft_sees_what_they_write(editor: Client, draft: Workflow) -> None:
    draft.steps.filter(name="first").update(params={"value": {"token": SECRET}})
    assert SECRET in editor.get(change_url(draft)).text
