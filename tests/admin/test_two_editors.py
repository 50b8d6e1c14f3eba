"""Two people edit one workflow: the second learns what the first has saved, and nothing typed is lost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_workflow import define
from django_workflow.models import ManagedBy, Step, Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data

pytestmark = pytest.mark.django_db


def send_again(page: Any) -> dict[str, Any]:
    """Return what a browser sends when the page that came back is saved as it is."""
    form = page.context["adminform"].form
    [inline] = page.context["inline_admin_formsets"]
    fields = [
        *form,
        *inline.formset.management_form,
        *(field for each in inline.formset.forms for field in each),
    ]
    data = {"revision": form.revision} | {field.html_name: field.value() for field in fields}
    return {name: value for name, value in data.items() if value not in (None, False)}


def stored() -> list[tuple[str, str, Any]]:
    return list(Step.objects.values_list("name", "condition", "params"))


def test_the_page_carries_what_it_was_drawn_from(editor: Client, draft: Workflow) -> None:
    page = editor.get(change_url(draft))
    assert f'name="revision" value="{page.context["adminform"].form.revision}"' in page.text
    assert page.context["adminform"].form.revision == form_data(draft)["revision"]


def test_the_second_of_two_editors_is_told_and_keeps_what_was_typed(editor: Client, draft: Workflow) -> None:
    first = form_data(draft, {"at": 1, "condition": "total > 2"}, description="By the first")
    second = form_data(draft, {"at": 0, "params": '{"value": "mine"}'}, description="By the second")
    assert editor.post(change_url(draft), first).status_code == 302
    page = editor.post(change_url(draft), second)
    assert "saved by somebody else" in page.text
    form = page.context["adminform"].form
    assert form["description"].value() == "By the second"
    assert form.errors["description"] == ["Stored now: By the first"]
    steps = page.context["inline_admin_formsets"][0].formset.forms
    assert steps[0]["params"].value() == '{"value": "mine"}'
    assert steps[1].errors["condition"] == ["Stored now: total > 2"]
    assert Workflow.objects.get().description == "By the first"
    assert stored()[1] == ("second", "total > 2", {})


def test_what_was_typed_is_saved_the_second_time(editor: Client, draft: Workflow) -> None:
    second = form_data(draft, {"at": 0, "params": '{"value": "mine"}'})
    editor.post(change_url(draft), form_data(draft, {"at": 1, "condition": "total > 2"}))
    again = send_again(editor.post(change_url(draft), second))
    again["steps-1-condition"] = "total > 2"
    assert editor.post(change_url(draft), again).status_code == 302
    assert stored() == [("first", "", {"value": "mine"}), ("second", "total > 2", {})]


def test_a_third_save_in_between_is_told_too(editor: Client, draft: Workflow) -> None:
    second = form_data(draft, description="By the second")
    editor.post(change_url(draft), form_data(draft, description="By the first"))
    again = send_again(editor.post(change_url(draft), second))
    editor.post(change_url(draft), form_data(Workflow.objects.get(), description="By the third"))
    assert errors_of(editor, change_url(draft), again)["description"] == ["Stored now: By the third"]


def test_publishing_over_what_somebody_else_saved_is_refused(editor: Client, draft: Workflow) -> None:
    second = form_data(draft, {"at": 1, "condition": ""}, _publish="1")
    editor.post(change_url(draft), form_data(draft, description="By the first"))
    assert "saved by somebody else" in editor.post(change_url(draft), second).text
    assert not draft.versions.exists()


def test_a_workflow_that_was_switched_off_is_not_switched_on_by_an_older_page(
    editor: Client, draft: Workflow
) -> None:
    data = form_data(draft, description="New")
    Workflow.objects.update(enabled=False)
    assert errors_of(editor, change_url(draft), data)["enabled"] == ["Stored now: no"]
    assert not Workflow.objects.get().enabled


def test_the_same_form_sent_twice_is_no_conflict(editor: Client, draft: Workflow) -> None:
    new = {"name": "third", "type": "admintest.echo"}
    data = form_data(draft, {"at": 0, "DELETE": "on"}, {"at": 1, "condition": "a"}, new, description="New")
    for _time in range(2):
        assert editor.post(change_url(draft), data).status_code == 302
    assert [name for name, *_others in stored()] == ["second", "third"]


def test_a_page_without_a_revision_is_refused(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, description="New")
    del data["revision"]
    assert "description" in errors_of(editor, change_url(draft), data)
    assert Workflow.objects.get().description == "What the shop does"


def test_a_step_that_was_added_meanwhile_is_shown_and_kept(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"name": "mine", "type": "admintest.echo"}, {"at": 1, "condition": "typed"})
    Step.objects.filter(name="second").update(position=2)
    draft.steps.create(position=1, name="theirs", type="admintest.echo", params={"value": [1]})
    page = editor.post(change_url(draft), data)
    assert "Added meanwhile: theirs." in page.text
    assert editor.post(change_url(draft), send_again(page)).status_code == 302
    assert stored() == [
        ("first", "", {"value": {"b": 1, "a": "é"}}),
        ("theirs", "", {"value": [1]}),
        ("second", "typed", {}),
        ("mine", "", {}),
    ]


def test_a_step_that_was_removed_meanwhile_comes_back_as_typed(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"at": 0, "params": '{"value": "mine"}'}, {"at": 1, "condition": "typed"})
    Step.objects.filter(name="first").delete()
    page = editor.post(change_url(draft), data)
    assert "Removed meanwhile, and added again when you save: first." in page.text
    assert [name for name, *_others in stored()] == ["second"]
    assert editor.post(change_url(draft), send_again(page)).status_code == 302
    assert stored() == [("first", "", {"value": "mine"}), ("second", "typed", {})]


def test_steps_that_were_written_anew_are_known_by_their_names(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"at": 1, "condition": "typed"})
    for step in draft.steps.all():
        step.delete()
        step.pk = None
        step.save(force_insert=True)
    page = editor.post(change_url(draft), data)
    assert "Removed" not in page.text
    assert editor.post(change_url(draft), send_again(page)).status_code == 302
    assert stored()[1] == ("second", "typed", {})


def test_steps_that_moved_meanwhile_stay_where_they_were_moved_to(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"at": 1, "condition": "typed"})
    Step.objects.filter(name="first").update(position=5)
    page = editor.post(change_url(draft), data)
    assert editor.post(change_url(draft), send_again(page)).status_code == 302
    assert [name for name, *_others in stored()] == ["second", "first"]


def test_json_that_cannot_be_read_stays_as_typed_beside_what_is_stored(
    editor: Client, draft: Workflow
) -> None:
    data = form_data(draft, {"at": 0, "params": "{"})
    Step.objects.filter(name="first").update(params={"value": "theirs"})
    page = editor.post(change_url(draft), data)
    form = page.context["inline_admin_formsets"][0].formset.forms[0]
    assert form["params"].value() == "{"
    assert "theirs" in str(form.errors["params"])


@pytest.mark.parametrize("owner", [ManagedBy.FILE, ManagedBy.CODE])
def test_what_was_typed_outlives_a_workflow_that_was_taken_back(
    editor: Client, draft: Workflow, owner: ManagedBy
) -> None:
    data = form_data(draft, {"at": 1, "condition": "typed"}, {"name": "mine", "type": "mail.send"})
    Workflow.objects.update(managed_by=owner)
    page = editor.post(change_url(draft), data)
    assert "Edit here" in page.context["adminform"].form.errors["__all__"][0]
    typed = [form["condition"].value() for form in page.context["inline_admin_formsets"][0].formset.forms]
    assert typed[1] == "typed"
    again = send_again(page)
    assert "Edit here" in editor.post(change_url(draft), again).text
    assert draft.steps.count() == 2
    editor.post(change_url(draft, "edit-here"))
    assert editor.post(change_url(draft), again).status_code == 302
    assert [name for name, *_others in stored()] == ["first", "second", "mine"]


def test_the_switch_of_a_workflow_of_code_survives_a_new_definition(editor: Client) -> None:
    steps = [{"name": "only", "type": "admintest.echo"}]
    workflow = define("shop", steps=steps)
    data = form_data(workflow)
    del data["enabled"]
    define("shop", steps=[*steps, {"name": "more", "type": "admintest.echo"}])
    assert editor.post(change_url(workflow), data).status_code == 302
    assert not Workflow.objects.get().enabled
    assert workflow.steps.count() == 2


def test_the_switch_alone_is_saved_where_staff_own_the_workflow_by_now(editor: Client) -> None:
    workflow = define("shop", steps=[{"name": "only", "type": "admintest.echo"}], description="Kept")
    revision = editor.get(change_url(workflow)).context["adminform"].form.revision
    Workflow.objects.update(managed_by=ManagedBy.STAFF)
    counts = {"steps-TOTAL_FORMS": "0", "steps-INITIAL_FORMS": "0"}
    assert editor.post(change_url(workflow), {"revision": revision, **counts}).status_code == 302
    found = Workflow.objects.get()
    assert (found.enabled, found.description, found.steps.count()) == (False, "Kept", 1)


def test_a_workflow_is_held_before_it_is_read(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, description="New")
    with CaptureQueriesContext(connection) as queries:
        editor.post(change_url(draft), data)
    statements = [each["sql"] for each in queries if '"django_workflow_' in each["sql"]]
    assert statements[0].startswith('UPDATE "django_workflow_workflow"')


def test_an_address_that_is_no_key_is_no_workflow(editor: Client) -> None:
    url = "/admin/django_workflow/workflow/nothing/change/"
    assert editor.post(url, form_data(None)).status_code == 302
