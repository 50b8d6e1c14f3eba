"""Runs in the admin: what is shown to whom, and the verbs."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, override_settings

from django_workflow import define
from django_workflow.models import Run, Workflow
from django_workflow.status import RunStatus
from tests.support.admin_step_types import MENDED, change_url, form_data

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

LIST = "/admin/django_workflow/run/"
ECHO = {"name": "echo", "type": "admintest.echo", "with": {"value": "{{ secretless }}"}}
FAIL = {"name": "broken", "type": "admintest.fail"}
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}


def test_a_page_shows_the_run_and_its_step_runs_in_order(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    run = make_run(ECHO, FAIL, input={"secretless": "telling"})
    page = client.get(change_url(run), {"open": ",".join(str(row.pk) for row in run.step_runs.all())})
    assert [row.step_run.step for row in page.context["page"].rows] == ["echo", "broken"]
    assert "telling" in page.text
    assert "no luck" in page.text
    assert "<pre" in page.text


def test_who_may_not_see_the_payload_gets_none_of_it_and_is_told_why(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(
        ECHO,
        {"name": "keep", "type": "flow.set", "with": {"kept": "stored-too"}},
        input={"secretless": "telling"},
    )
    pages = [client.get(change_url(run)), *(client.get(change_url(row)) for row in run.step_runs.all())]
    for page in pages:
        assert page.status_code == 200
        assert "telling" not in page.text
        assert "stored-too" not in page.text
        assert "django_workflow.view_run_payload" in page.text


@pytest.mark.parametrize("is_seen", [False, True])
def test_what_may_quote_values_needs_the_permission_too(
    login: Login, make_run: MakeRun, is_seen: bool
) -> None:
    client = login("view_run", *(["view_run_payload"] if is_seen else []))
    run = make_run({**FAIL, "with": {"message": "said {{ word }}"}}, input={"word": "telling"})
    run.step_runs.update(logs=["asked with telling"])
    row = run.step_runs.get()
    for page in (client.get(change_url(run), {"open": str(row.pk)}), client.get(change_url(row))):
        assert "ValueError" in page.text
        for text in ("ValueError: said telling", "asked with telling"):
            assert (text in page.text) == is_seen


def test_values_under_hidden_keys_are_starred(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    step = {
        "name": "echo",
        "type": "admintest.echo",
        "with": {"value": {"Password1": "hunter2", "plain": "shown"}},
    }
    run = make_run(step, input={"deep": [{"api_TOKEN": "hunter2"}], "plain": "shown"})
    for page in (client.get(change_url(run)), client.get(change_url(run.step_runs.get()))):
        assert "hunter2" not in page.text
        assert "********" in page.text
        assert "shown" in page.text


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "HIDDEN_FIELDS": ["PLAIN"]})
def test_hidden_keys_are_those_of_the_setting(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    page = client.get(change_url(make_run(SLEEP, input={"my_plain": "visible?", "password": "hunter2"})))
    assert "visible?" not in page.text
    assert "hunter2" in page.text


def test_a_version_does_not_show_what_must_stay_hidden(login: Login, make_run: MakeRun) -> None:
    client = login("view_workflow")
    given = {"value": {"api_key": "hunter2", "deep": [{"password": "hunter2"}]}}
    undo = {"type": "admintest.echo", "with": {"value": {"token": "hunter2"}}}
    keyed = {"type": "flow.set", "with": {"secret": "hunter2", "key": "{{ run.key }}", "plain": "shown"}}
    run = make_run({"name": "echo", "type": "admintest.echo", "with": given, "undo": undo}, keyed)
    text = client.get(change_url(run.version)).text
    assert "hunter2" not in text
    assert "shown" in text
    assert "{{ run.key }}" in text


@pytest.mark.parametrize(
    "about", [{"default": "hunter2"}, {"initial": "hunter2"}, {"choices": [["hunter2", "hunter2"], "other"]}]
)
def test_what_a_hidden_input_may_be_is_not_shown(login: Login, about: dict[str, Any]) -> None:
    client = login("view_workflow")
    workflow = define("shop", steps=[SLEEP], input={"token": {"type": "str", **about}, "plain": "str"})
    for row in (workflow, workflow.published):
        assert row is not None
        text = client.get(change_url(row)).text
        assert "hunter2" not in text
        assert "token" in text


def test_text_of_a_run_is_escaped(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    bad = "<script>alert(1)</script>"
    run = make_run({**FAIL, "with": {"message": bad}}, input={"a": bad})
    for page in (client.get(change_url(run)), client.get(change_url(run.step_runs.get())), client.get(LIST)):
        assert bad not in page.text


def test_runs_are_read_only(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "add_run", "change_run", "view_steprun", "change_steprun", "add_steprun")
    run = make_run(FAIL)
    for row in (run, run.step_runs.get()):
        assert client.post(change_url(row), {"status": "done"}).status_code == 403
        assert client.get(f"/admin/django_workflow/{row._meta.model_name}/add/").status_code == 403


def test_a_run_is_deleted_by_who_has_the_permission(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "delete_run")
    run = make_run(FAIL)
    client.post(change_url(run, "delete"), {"post": "yes"})
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("step", "offered"), [(FAIL, {"retry"}), (SLEEP, {"cancel"}), ({"type": "admintest.echo"}, set())]
)
def test_verbs_are_offered_where_the_status_allows_them(
    login: Login, make_run: MakeRun, step: dict[str, object], offered: set[str]
) -> None:
    client = login("view_run", "control_run")
    run = make_run(step)
    page = client.get(change_url(run))
    assert {verb for verb in ("cancel", "retry") if change_url(run, verb) in page.text} == offered


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_verbs_need_the_permission(login: Login, make_run: MakeRun, verb: str) -> None:
    client = login("view_run", "change_run", "view_run_payload")
    run = make_run(SLEEP if verb == "cancel" else FAIL)
    assert change_url(run, verb) not in client.get(change_url(run)).text
    assert client.get(change_url(run, verb)).status_code == 403
    assert client.post(change_url(run, verb), {"confirmed": "1"}).status_code == 403
    client.post(LIST, {"action": f"{verb}_selected", "_selected_action": [run.pk], "confirmed": "1"})
    assert Run.objects.get().status == run.status
    assert not run.actions.exists()


def test_a_verb_is_asked_first_and_done_by_post_with_its_note(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    run = make_run(SLEEP)
    page = client.get(change_url(run, "cancel"))
    assert "not undone" in page.text
    assert "csrfmiddlewaretoken" in page.text
    assert Run.objects.get().status == RunStatus.WAITING
    page = client.post(change_url(run, "cancel"), {"note": "wrong order"}, follow=True)
    assert Run.objects.get().status == RunStatus.CANCELLED
    [action] = run.actions.all()
    assert (action.verb, action.note, action.by.username) == ("cancel", "wrong order", "staff")
    assert "wrong order" in page.text
    assert "wrong order" in client.get(change_url(run, "history")).text


def test_a_verb_without_the_token_of_the_page_is_refused(login: Login, make_run: MakeRun) -> None:
    login("view_run", "control_run")
    run = make_run(SLEEP)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(run._meta.apps.get_model("auth.User").objects.get())
    assert strict.post(change_url(run, "cancel")).status_code == 403
    assert Run.objects.get().status == RunStatus.WAITING


def test_a_refused_verb_is_told_as_an_error(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    page = client.post(change_url(make_run(ECHO, input={"secretless": 1}), "retry"), follow=True)
    [message] = page.context["messages"]
    assert message.level_tag == "error"
    assert "Only a run that failed" in str(message)


def test_retry_goes_on_from_the_failed_step(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: object
) -> None:
    client = login("view_run", "control_run")
    run = make_run(ECHO, FAIL, input={"secretless": 1})
    MENDED.add("now")
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        client.post(change_url(run, "retry"))
    run.refresh_from_db()
    assert run.status == RunStatus.DONE
    assert list(run.step_runs.values_list("step", "attempt")) == [("echo", 1), ("broken", 1), ("broken", 2)]


def test_a_workflow_published_anew_does_not_change_its_runs(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: object
) -> None:
    client = login("view_run", "control_run", "view_workflow", "change_workflow", "publish_workflow")
    run = make_run(FAIL, {"name": "after", "type": "admintest.echo", "with": {"value": "old"}})
    client.post(change_url(run.workflow, "edit-here"))
    workflow = Workflow.objects.get()
    changes = [{"at": 0, "name": "other"}, {"at": 1, "params": '{"value": "new"}'}]
    client.post(change_url(workflow), form_data(workflow, *changes, _publish="1"))
    assert Workflow.objects.get().published.number == 2
    MENDED.add("now")
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        client.post(change_url(run, "retry"))
    run.refresh_from_db()
    assert (run.status, run.version.number, run.output) == (RunStatus.DONE, 1, "old")


def test_chosen_runs_are_asked_for_and_cancelled_one_by_one(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    runs = [make_run(SLEEP), make_run(SLEEP), make_run({"type": "admintest.echo"}, name="done")]
    data = {"action": "cancel_selected", "_selected_action": [run.pk for run in runs]}
    page = client.post(LIST, data)
    assert all(str(run.pk) in page.text for run in runs)
    assert Run.objects.filter(status=RunStatus.WAITING).count() == 2
    page = client.post(LIST, {**data, "confirmed": "1", "note": "all wrong"}, follow=True)
    levels = sorted(message.level_tag for message in page.context["messages"])
    assert levels == ["error", "success", "success"]
    assert Run.objects.filter(status=RunStatus.CANCELLED, actions__note="all wrong").count() == 2


def test_all_runs_of_a_list_are_asked_for_as_a_bulk_action(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    first = make_run(SLEEP)
    times = {"created_at": first.created_at, "status": "pending"}
    Run.objects.bulk_create(
        [Run(workflow=first.workflow, version=first.version, **times) for _ in range(101)]
    )
    data = {
        "action": "cancel_selected",
        "_selected_action": [first.pk],
        "select_across": "1",
        "confirmed": "1",
    }
    page = client.post(f"{LIST}?state=active", data, follow=True)
    assert page.redirect_chain == [(f"{LIST}bulk/cancel/?state=active", 302)]
    assert "Cancel: 102 runs" in page.text
    assert not Run.objects.filter(status=RunStatus.CANCELLED).exists()


def test_a_verb_on_a_run_that_is_gone_answers_404(login: Login) -> None:
    client = login("view_run", "control_run")
    assert client.get(f"{LIST}0199aabb-0000-7000-8000-000000000000/cancel/").status_code == 404
    assert client.get(f"{LIST}nonsense/cancel/").status_code == 404
