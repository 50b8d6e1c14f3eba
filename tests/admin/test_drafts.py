"""The form of a workflow: what is saved, what is published, and which problem stands where."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client, override_settings

from django_workflow.models import Workflow
from tests.support.admin_step_types import change_url, errors_of, form_data

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

ADD = "/admin/django_workflow/workflow/add/"


def names(workflow: Workflow) -> list[str]:
    return list(workflow.steps.values_list("name", flat=True))


def test_a_new_workflow_is_saved_as_a_draft_and_names_are_made_from_types(editor: Client) -> None:
    steps = [
        {"type": "mail.send"},
        {"type": "mail.send"},
        {"type": "admintest.echo", "params": '{"value": 1}'},
    ]
    response = editor.post(ADD, form_data(None, *steps))
    assert response.status_code == 302
    workflow = Workflow.objects.get(name="shop")
    assert names(workflow) == ["mail_send", "mail_send_2", "admintest_echo"]
    assert workflow.steps.last().params == {"value": 1}
    assert workflow.published is None
    assert workflow.managed_by == "staff"


def test_a_new_workflow_can_be_published_at_once(editor: Client) -> None:
    response = editor.post(ADD, form_data(None, {"type": "admintest.echo"}, _publish="1"), follow=True)
    workflow = Workflow.objects.get(name="shop")
    assert workflow.published.number == 1
    assert workflow.published.published_by.username == "staff"
    assert "Published as version 1." in response.text


def test_a_draft_that_cannot_be_published_is_kept(editor: Client, draft: Workflow) -> None:
    changes = {"at": 0, "type": "no.such", "condition": "a >", "params": '{"x": 1}', "needs": "jump"}
    assert editor.post(change_url(draft), form_data(draft, changes, timeout="soon")).status_code == 302
    draft.refresh_from_db()
    step = draft.steps.first()
    assert (step.type, step.condition, step.params, step.needs) == ("no.such", "a >", {"x": 1}, "jump")
    assert draft.timeout == "soon"


@pytest.mark.parametrize(
    "text", ["{", "{'a': 1}", "[" * 100_000, "9" * 5000, '"\\u0000"', '"\\ud800"', "NaN"]
)
def test_json_that_cannot_be_stored_is_refused_and_comes_back_as_typed(
    editor: Client, draft: Workflow, text: str
) -> None:
    data = form_data(draft, {"at": 1, "params": text})
    assert list(errors_of(editor, change_url(draft), data)) == ["steps-1-params"]
    page = editor.post(change_url(draft), data)
    [inline] = page.context["inline_admin_formsets"]
    assert inline.formset.forms[1]["params"].value() == text


def test_params_are_shown_as_indented_json(editor: Client, draft: Workflow) -> None:
    page = editor.get(change_url(draft))
    shown = page.context["inline_admin_formsets"][0].formset.forms[0]["params"].value()
    assert json.loads(shown) == {"value": {"b": 1, "a": "é"}}
    assert '{\n  "value": {\n    "' in shown
    assert "é" in shown


def test_saving_the_form_as_it_is_changes_nothing(editor: Client, draft: Workflow) -> None:
    before = draft.as_definition()
    editor.post(change_url(draft), form_data(draft))
    assert Workflow.objects.get().as_definition() == before


@pytest.mark.parametrize(
    ("text", "stored"),
    [("jump", "jump"), ('"jump"', "jump"), ("[]", []), ('["first"]', ["first"]), ("", None), ("null", None)],
)
def test_needs_are_a_list_or_a_word(editor: Client, draft: Workflow, text: str, stored: Any) -> None:
    editor.post(change_url(draft), form_data(draft, {"at": 1, "needs": text}))
    assert draft.steps.last().needs == stored
    shown = (
        editor.get(change_url(draft)).context["inline_admin_formsets"][0].formset.forms[1]["needs"].value()
    )
    assert shown == (
        "" if stored is None else stored if isinstance(stored, str) else json.dumps(stored, indent=2)
    )


@pytest.mark.parametrize(
    ("positions", "order"),
    [
        (("1", "2", ""), ["first", "second", "third"]),
        (("1", "2", "0"), ["third", "first", "second"]),
        (("1", "2", "1"), ["first", "third", "second"]),
        (("2", "2", ""), ["second", "first", "third"]),
        (("", "2", ""), ["second", "first", "third"]),
    ],
)
def test_steps_go_where_their_number_says(
    editor: Client, draft: Workflow, positions: tuple[str, str, str], order: list[str]
) -> None:
    moved = [{"at": number, "position": position} for number, position in enumerate(positions[:2])]
    new = {"name": "third", "type": "admintest.echo", "position": positions[2]}
    editor.post(change_url(draft), form_data(draft, *moved, new))
    assert names(draft) == order


def test_two_steps_may_swap_their_names(editor: Client, draft: Workflow) -> None:
    editor.post(change_url(draft), form_data(draft, {"at": 0, "name": "second"}, {"at": 1, "name": "first"}))
    assert names(draft) == ["second", "first"]


def test_a_new_step_may_take_the_name_of_a_deleted_one(editor: Client, draft: Workflow) -> None:
    new = {"name": "first", "type": "mail.send"}
    editor.post(change_url(draft), form_data(draft, {"at": 0, "DELETE": "on"}, new))
    assert list(draft.steps.values_list("name", "type")) == [
        ("second", "admintest.echo"),
        ("first", "mail.send"),
    ]


def test_a_double_name_is_refused_in_a_draft(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"at": 1, "name": "first"})
    assert list(errors_of(editor, change_url(draft), data)) == ["steps-1-name"]
    assert names(draft) == ["first", "second"]


def test_a_form_with_more_fields_than_django_takes_says_so(editor: Client, draft: Workflow) -> None:
    warning = "DATA_UPLOAD_MAX_NUMBER_FIELDS"
    assert warning not in editor.get(change_url(draft)).text
    for number in range(60):
        draft.steps.create(position=number, name=f"step_{number}", type="admintest.echo")
    assert warning in editor.get(change_url(draft)).text
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=None):
        assert warning not in editor.get(change_url(draft)).text


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"type": "no.such"}, "steps-1-type", "unknown step type"),
        ({"type": "flow.approval"}, "steps-1-params", "exactly one of"),
        ({"name": "Second"}, "steps-1-name", "no step name"),
        ({"name": "end"}, "steps-1-name", "meaning of its own"),
        ({"condition": "total >"}, "steps-1-condition", ""),
        ({"params": '{"nothing": 1}'}, "steps-1-params", "nothing"),
        ({"params": '{"value": "{{ a.b("}'}, "steps-1-params", "value"),
        ({"type": "admintest.number", "params": '{"count": "x"}'}, "steps-1-params", "count"),
        ({"type": "admintest.number"}, "steps-1-params", "count"),
        ({"needs": '["nobody"]'}, "steps-1-needs", "nobody"),
        ({"next": "nobody"}, "steps-1-next", "nobody"),
        ({"on_error": "nobody"}, "steps-1-on_error", "nobody"),
        ({"retry": '{"attempts": 0}'}, "steps-1-retry", ""),
        ({"timeout": "soon"}, "steps-1-timeout", "no duration"),
        ({"delay": "soon"}, "steps-1-delay", "no duration"),
        ({"for_each": "a b"}, "steps-1-for_each", ""),
        ({"max_parallel": "2"}, "steps-1-max_parallel", "for_each"),
        ({"queue": "{{ a }}"}, "steps-1-queue", "literally"),
    ],
)
def test_publishing_shows_a_problem_at_the_field_of_its_step(
    editor: Client, draft: Workflow, changes: dict[str, str], field: str, text: str
) -> None:
    data = form_data(draft, {"at": 1, **changes}, _publish="1")
    errors = errors_of(editor, change_url(draft), data)
    assert list(errors) == [field]
    assert text in " ".join(errors[field])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": "0s"}, "timeout"),
        ({"input": '{"order": "no.such"}'}, "input"),
        ({"input": '{"steps": "str"}'}, "input"),
        ({"max_visits": "0"}, "max_visits"),
    ],
)
def test_publishing_shows_a_problem_at_the_field_of_the_workflow(
    editor: Client, draft: Workflow, fields: dict[str, str], field: str
) -> None:
    errors = errors_of(editor, change_url(draft), form_data(draft, **fields, _publish="1"))
    assert list(errors) == [field]


def test_publishing_a_workflow_that_would_call_itself_without_end_is_refused(editor: Client) -> None:
    call = {"position": 1, "name": "again", "type": "flow.call", "params": '{"workflow": "shop"}'}
    errors = errors_of(editor, ADD, form_data(None, call, _publish="1"))
    assert "without end" in errors["steps-0-params"][0]
    assert not Workflow.objects.exists()


def test_publishing_without_steps_is_refused_on_top_of_the_steps(editor: Client) -> None:
    errors = errors_of(editor, ADD, form_data(None, _publish="1"))
    assert errors == {"steps": ["steps: at least one step is needed"]}
    assert not Workflow.objects.exists()


def test_publishing_shows_all_problems_at_once_and_loses_nothing_typed(
    editor: Client, draft: Workflow
) -> None:
    steps = [
        {"at": 0, "type": "no.such", "params": "{"},
        {"at": 1, "condition": "total >", "next": "nobody"},
        {"type": "mail.send", "name": "mail", "position": "0"},
    ]
    data = form_data(draft, *steps, timeout="soon", _publish="1")
    assert set(errors_of(editor, change_url(draft), data)) >= {
        "timeout",
        "steps-0-type",
        "steps-0-params",
        "steps-1-condition",
        "steps-1-next",
        "steps-2-params",
    }
    page = editor.post(change_url(draft), data)
    forms = page.context["inline_admin_formsets"][0].formset.forms
    typed = [
        form[field].value() for form, field in zip(forms, ("params", "condition", "position"), strict=True)
    ]
    assert typed == ["{", "total >", "0"]
    assert names(draft) == ["first", "second"]
    assert Workflow.objects.get().timeout == ""


def test_a_field_that_cannot_be_read_is_told_of_once(editor: Client, draft: Workflow) -> None:
    step = {"at": 1, "type": "admintest.number", "params": "{"}
    [text] = errors_of(editor, change_url(draft), form_data(draft, step, _publish="1"))["steps-1-params"]
    assert text.startswith("Enter a valid JSON.")


def test_warnings_are_told_after_publishing(editor: Client, draft: Workflow) -> None:
    retry = {"at": 1, "condition": "", "retry": '{"delay": "2h", "max_delay": "1h"}'}
    page = editor.post(change_url(draft), form_data(draft, retry, _publish="1"), follow=True)
    [warning] = [str(each) for each in page.context["messages"] if each.level_tag == "warning"]
    assert "second" in warning
    assert "max_delay" in warning


def test_publishing_an_unchanged_draft_makes_no_version(editor: Client, draft: Workflow) -> None:
    data = form_data(draft, {"at": 1, "condition": ""}, _publish="1")
    editor.post(change_url(draft), data)
    page = editor.post(change_url(draft), data, follow=True)
    assert draft.versions.count() == 1
    assert "Nothing to publish: version 1 is the same." in page.text


def test_publishing_is_in_the_history(editor: Client, draft: Workflow) -> None:
    editor.post(change_url(draft), form_data(draft, {"at": 1, "condition": ""}, _publish="1"))
    assert "version 1" in editor.get(change_url(draft, "history")).text


@pytest.mark.parametrize("most", [1000, 100])
def test_more_steps_than_a_browser_can_send_are_refused_without_drawing_them(
    editor: Client, most: int
) -> None:
    data = form_data(None, {"type": "admintest.echo"}) | {"steps-TOTAL_FORMS": "100000"}
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=most):
        page = editor.post(ADD, data)
    [inline] = page.context["inline_admin_formsets"]
    assert inline.formset.non_form_errors()
    assert len(inline.formset.forms) <= most / 10
    assert not Workflow.objects.exists()


def test_undo_and_on_failure_are_shown_and_kept(editor: Client, draft: Workflow) -> None:
    undo = {"type": "admintest.note", "with": {"text": "{{ output }}", "token": "hunter2"}}
    draft.steps.filter(name="first").update(undo=undo)
    Workflow.objects.update(on_failure={"workflow": "say-sorry"})
    text = editor.get(change_url(draft)).text
    assert "say-sorry" in text
    assert "admintest.note" in text
    assert "hunter2" not in text
    assert editor.post(change_url(draft), form_data(draft, {"at": 1, "name": "other"})).status_code == 302
    draft.refresh_from_db()
    assert draft.on_failure == {"workflow": "say-sorry"}
    assert draft.steps.get(name="first").undo == undo


def test_undo_as_a_word_and_none_at_all_are_shown(editor: Client, draft: Workflow) -> None:
    Workflow.objects.update(on_failure="undo")
    page = editor.get(change_url(draft))
    assert re.search(r'<div class="readonly">\s*undo\s*</div>', page.text)
    assert editor.get(ADD).status_code == 200


def test_params_that_are_larger_than_a_step_may_be_given_are_refused(editor: Client, draft: Workflow) -> None:
    text = json.dumps({f"key_{number}": 1 for number in range(100)})
    with override_settings(DJANGO_WORKFLOW={"MAX_BYTES": 500}):
        [(field, [message])] = errors_of(
            editor, change_url(draft), form_data(draft, {"at": 1, "params": text})
        ).items()
    assert field == "steps-1-params"
    assert "500" in message


def test_a_step_of_many_unknown_params_brings_a_page_of_bounded_size(editor: Client, draft: Workflow) -> None:
    text = json.dumps({f"key_{number}": 1 for number in range(20_000)})
    page = editor.post(
        change_url(draft), form_data(draft, {"at": 1, "type": "mail.send", "params": text}, _publish="1")
    )
    form = page.context["inline_admin_formsets"][0].formset.forms[1]
    assert 0 < len(form.errors["params"]) <= 101
