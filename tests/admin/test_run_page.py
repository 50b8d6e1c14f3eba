"""The page of a run: what it says to whom, what it costs, and how it keeps itself up to date."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from django_workflow import VerbRefused, cancel_run, define, restart_run, retry_run, trigger, undo_run
from django_workflow.models import Run, StepRun
from tests.support.admin_step_types import MENDED, change_url
from tests.support.runs import abandon

from .conftest import Login, MakeRun

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

ECHO = {"name": "echo", "type": "admintest.echo", "with": {"value": "{{ word }}"}}
FAIL = {"name": "broken", "type": "admintest.fail"}
SLEEP = {"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}
ALL_VERBS = {"retry", "restart", "resume", "pause", "event", "skip", "undo", "cancel"}


def look(client: Client, run: Run, etag: str = "", **query: str) -> Any:
    headers = {"If-None-Match": etag} if etag else {}
    return client.get(change_url(run, "live"), query, headers=headers)


def test_every_verb_is_offered_or_says_why_not(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run", "override_run")
    page = client.get(change_url(make_run(FAIL))).context["page"]
    assert {offer.name for offer in page.possible} == {"retry", "restart", "skip"}
    assert {offer.name for offer in page.impossible} == ALL_VERBS - {"retry", "restart", "skip"}
    assert all(offer.reason for offer in page.impossible)


def test_who_may_only_look_sees_no_verb(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(FAIL)
    for text in (client.get(change_url(run)).text, look(client, run).text):
        assert not any(change_url(run, verb) in text for verb in ALL_VERBS)
        assert "Not now" not in text
    assert "/run/bulk/" not in client.get("/admin/django_workflow/run/").text


@pytest.mark.parametrize("path", ["bulk/", "bulk/retry/"])
def test_who_may_only_look_is_kept_from_bulk_actions(login: Login, make_run: MakeRun, path: str) -> None:
    client = login("view_run")
    make_run(FAIL)
    url = f"/admin/django_workflow/run/{path}"
    allowed = 200 if path == "bulk/" else 403
    assert client.get(url).status_code == allowed
    assert client.post(url, {"note": ""}).status_code == allowed
    assert Run.objects.get().status == "failed"


@pytest.mark.parametrize("verb", sorted(ALL_VERBS))
def test_a_crafted_post_without_the_permission_is_refused(login: Login, make_run: MakeRun, verb: str) -> None:
    # Each of them lacks what the other verbs need.
    client = login("view_run", "control_run" if verb in ("skip", "undo") else "override_run")
    run = make_run(FAIL)
    assert client.post(change_url(run, verb), {"step": "broken"}).status_code == 403
    assert client.post(f"/admin/django_workflow/run/bulk/{verb}/", {"step": "broken"}).status_code == 403
    assert not run.actions.exists()


def test_nothing_of_the_payload_is_in_page_or_fragment_without_the_permission(
    login: Login, make_run: MakeRun
) -> None:
    client = login("view_run", "control_run", "override_run")
    steps = [ECHO, {**FAIL, "with": {"message": "said {{ word }}"}}]
    run = make_run(*steps, input={"word": "telling"})
    opened = ",".join(str(row.pk) for row in run.step_runs.all())
    pages = [change_url(run), change_url(run, "live"), change_url(run, "restart"), change_url(run, "skip")]
    for url in pages:
        text = client.get(url, {"open": opened}).text
        assert "telling" not in text, url
    assert "ValueError" in client.get(pages[0]).text
    assert "telling" not in client.get("/admin/django_workflow/run/").text


def test_the_failed_step_is_open_from_the_start(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    run = make_run(ECHO, FAIL, input={"word": "telling"})
    [opened] = [row for row in client.get(change_url(run)).context["page"].rows if row.whole]
    assert opened.step_run.step == "broken"
    echo = run.step_runs.get(step="echo")
    rows = client.get(change_url(run), {"open": str(echo.pk)}).context["page"].rows
    assert [row.step_run.step for row in rows if row.whole] == ["echo"]
    assert client.get(change_url(run), {"open": "nonsense,"}).status_code == 200


def test_an_unchanged_fragment_costs_five_queries(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload", "control_run")
    run = make_run(SLEEP)
    first = look(client, run)
    assert first.status_code == 200
    with CaptureQueriesContext(connection) as queries:
        again = look(client, run, first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    # The session, the user, their permissions (twice) and the run.
    assert len(queries) <= 5
    assert client.get(change_url(run)).context["etag"] == first.headers["ETag"]


def test_a_fragment_is_new_when_the_run_has_changed(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(SLEEP)
    first = look(client, run)
    assert "X-Workflow-Final" not in first.headers
    cancel_run(run)
    second = look(client, run, first.headers["ETag"])
    assert second.status_code == 200
    assert second.headers["X-Workflow-Final"] == "1"
    assert "It was cancelled at" in second.text
    restart_run(run)
    assert look(client, run, second.headers["ETag"]).status_code == 200


def test_a_running_step_shows_how_far_it_is_and_its_log_lines(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "view_run_payload")
    run = make_run(SLEEP)
    row = abandon(run, "rest", worker="here:1")
    first = look(client, run)
    until = timezone.now() + timedelta(minutes=1)
    said = {"progress": {"done": 3.0, "total": 10.0}, "logs": ["one", "two & three"]}
    StepRun.objects.filter(pk=row.pk).update(lease_until=until, due_at=until, **said)
    second = look(client, run, first.headers["ETag"])
    assert second.status_code == 200
    assert "3 of 10, here:1" in second.text
    opened = look(client, run, open=str(row.pk)).text
    assert ">one\ntwo &amp; three\n</pre>" in opened
    assert "<dd>3 of 10</dd>" in opened


def test_a_fragment_is_another_one_where_another_step_is_open(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(SLEEP)
    etag = look(client, run).headers["ETag"]
    opened = look(client, run, etag, open=str(run.step_runs.get().pk))
    assert opened.status_code == 200
    assert 'aria-expanded="true"' in opened.text


def test_a_fragment_is_for_who_may_see_the_run(client: Client, login: Login, make_run: MakeRun) -> None:
    run = make_run(SLEEP)
    assert look(client, run).status_code == 403
    logged_in = login("view_run")
    etag = look(logged_in, run).headers["ETag"]
    logged_in.logout()
    assert look(logged_in, run, etag).status_code == 403
    logged_in.force_login(User.objects.create_user("other", is_staff=True))
    assert look(logged_in, run, etag).status_code == 403
    assert logged_in.get("/admin/django_workflow/run/nonsense/live/").status_code == 404


@pytest.mark.parametrize("loss", ["permission", "staff", "active", "run"])
def test_an_unchanged_fragment_is_not_for_who_may_not_see_it_any_more(
    login: Login, make_run: MakeRun, loss: str
) -> None:
    client, run = login("view_run"), make_run(SLEEP)
    etag = look(client, run).headers["ETag"]
    user = User.objects.get()
    if loss == "permission":
        user.user_permissions.clear()
    elif loss == "run":
        Run.objects.all().delete()
    else:
        User.objects.update(**{f"is_{loss}": False})
    assert look(client, run, etag).status_code == 403


@pytest.mark.parametrize("permission", ["view_run_payload", "control_run", "override_run"])
def test_a_fragment_is_new_when_the_person_may_do_less(
    login: Login, make_run: MakeRun, permission: str
) -> None:
    client, run = login("view_run", permission), make_run(SLEEP)
    etag = look(client, run).headers["ETag"]
    User.objects.get().user_permissions.remove(Permission.objects.get(codename=permission))
    assert look(client, run, etag).status_code == 200


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "POLL": None})
def test_pages_are_not_live_where_the_setting_says_so(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    assert "data-poll" not in client.get(change_url(make_run(SLEEP))).text


def test_a_final_run_is_not_asked_for_again(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    assert "data-poll" in client.get(change_url(make_run(SLEEP))).text
    assert "data-poll" not in client.get(change_url(make_run(FAIL))).text


def test_a_run_names_its_relatives(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    define("called", steps=[SLEEP])
    caller = make_run({"name": "ask", "type": "flow.call", "with": {"workflow": "called"}})
    called = Run.objects.get(workflow__name="called")
    assert change_url(called) in client.get(change_url(caller)).text
    assert change_url(caller) in client.get(change_url(called)).text
    failed = make_run(FAIL)
    newer = restart_run(failed)
    assert change_url(newer) in client.get(change_url(failed)).text
    assert change_url(failed) in client.get(change_url(newer)).text


def test_a_run_that_a_restart_has_superseded_says_so_first(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run", "override_run")
    run = make_run(FAIL)
    newer = restart_run(run)
    page = client.get(change_url(run)).context["page"]
    assert page.why.startswith(f"Superseded by the run {newer.pk}, which is pending. It failed at")
    assert {offer.name for offer in page.possible} == {"restart"}
    Run.objects.filter(pk=newer.pk).update(status="done", finished_at=newer.created_at)
    page = client.get(change_url(run)).context["page"]
    reasons = {offer.name: offer.reason for offer in page.impossible}
    assert reasons["retry"] == (
        f"It was restarted as {newer.pk}, which is done. To do the work again, restart that one."
    )


def test_a_restart_takes_a_step_and_another_input(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("view_run", "control_run", "view_run_payload")
    run = make_run(ECHO, FAIL, input={"word": "old"})
    page = client.get(change_url(run, "restart"))
    assert "&quot;word&quot;: &quot;old&quot;" in page.text
    data = {"from_step": "", "input": '{"word": "new"}', "note": "typo"}
    with django_capture_on_commit_callbacks(execute=True):
        client.post(change_url(run, "restart"), data)
    newer = run.restarts.get()
    assert (newer.input, newer.step_runs.get(step="echo").output) == ({"word": "new"}, "new")
    data = {"from_step": "broken", "input": '{\n  "word": "new"\n}', "note": ""}
    with django_capture_on_commit_callbacks(execute=True):
        client.post(change_url(newer, "restart"), data)
    assert newer.restarts.get().step_runs.filter(step="echo").count() == 1


@pytest.mark.parametrize("given", ["{", "[1]", '{"a": NaN}'])
def test_wrong_input_is_told_beside_its_field_and_kept(login: Login, make_run: MakeRun, given: str) -> None:
    client = login("view_run", "control_run", "view_run_payload")
    run = make_run(FAIL)
    page = client.post(change_url(run, "restart"), {"from_step": "", "input": given, "note": "kept note"})
    assert page.status_code == 200
    assert page.context["form"].errors["input"]
    assert "kept note" in page.text
    assert not run.restarts.exists()


def test_hidden_parts_of_an_input_are_not_offered_for_editing(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run", "view_run_payload")
    run = make_run(FAIL, input={"api_key": "hunter2", "word": "shown"})
    page = client.get(change_url(run, "restart"))
    assert "hunter2" not in page.text
    assert "shown" not in page.text


def test_a_step_is_skipped_with_an_output(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("view_run", "override_run")
    run = make_run(FAIL, {**ECHO, "with": {"value": "{{ steps.broken.given }}"}})
    data = {"step": "broken", "output": '{"given": 7}', "note": "by hand"}
    with django_capture_on_commit_callbacks(execute=True):
        client.post(change_url(run, "skip"), data)
    run.refresh_from_db()
    assert (run.status, run.output) == ("done", 7)


def test_an_event_is_sent_and_noted(
    login: Login, make_run: MakeRun, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("view_run", "control_run")
    run = make_run({"name": "pay", "type": "flow.wait", "with": {"event": "paid"}})
    page = client.get(change_url(run, "event"))
    assert 'value="paid"' in page.text
    with django_capture_on_commit_callbacks(execute=True):
        client.post(change_url(run, "event"), {"name": "paid", "payload": '{"amount": 3}', "note": ""})
    run.refresh_from_db()
    assert (run.status, run.output) == ("done", {"event": "paid", "payload": {"amount": 3}})
    assert run.actions.get().verb == "event"


def test_a_run_about_a_row_links_to_it(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    boss = User.objects.create_user("boss")
    define("about", steps=[SLEEP])
    run = trigger("about", subject=boss)
    assert f"/admin/auth/user/{boss.pk}/change/" in client.get(change_url(run)).text
    Run.objects.filter(pk=run.pk).update(subject_type="gone.model")
    assert "gone.model" in client.get(change_url(run)).text


def test_a_run_that_never_began_has_a_page(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(SLEEP)
    run.workflow.enabled = False
    run.workflow.save()
    born = trigger("shop")
    assert born.status == "cancelled"
    assert "Nothing of it has begun." in client.get(change_url(born)).text


@pytest.mark.parametrize(
    ("given", "stored"), [("0", 0), ("false", False), ('""', ""), ("", None), ("[]", [])]
)
def test_every_json_value_is_an_output(
    login: Login, make_run: MakeRun, given: str, stored: Any, django_capture_on_commit_callbacks: Any
) -> None:
    client = login("view_run", "override_run")
    run = make_run(FAIL)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(change_url(run, "skip"), {"step": "broken", "output": given, "note": ""})
    row = run.step_runs.get()
    assert (row.status, row.output) == ("skipped", stored)
    assert type(row.output) is type(stored)


def test_stored_input_that_fits_no_more_is_not_told_to_who_may_not_see_it(
    login: Login, make_run: MakeRun
) -> None:
    client = login("view_run", "control_run")
    run = make_run(FAIL, input={"colour": "topsecret"})
    define("shop", steps=[FAIL], input={"colour": "date"})
    page = client.post(change_url(run, "restart"), {"from_step": "", "newest": "on", "input": "", "note": ""})
    assert "topsecret" not in page.text
    assert "colour" in str(page.context["form"].errors)
    assert not run.restarts.exists()


@override_settings(USE_THOUSAND_SEPARATOR=True)
@pytest.mark.parametrize("language", ["en", "de"])
def test_numbers_for_the_script_are_not_localised(login: Login, make_run: MakeRun, language: str) -> None:
    client = login("view_run")
    text = client.get(change_url(make_run(SLEEP)), headers={"Accept-Language": language}).text
    assert 'data-poll="1000"' in text


@pytest.mark.parametrize(
    ("model", "key"), [("gone.model", "1"), ("nonsense", "1"), ("auth.user", "nonsense"), ("auth.user", "9")]
)
def test_a_subject_that_is_gone_is_no_error(login: Login, make_run: MakeRun, model: str, key: str) -> None:
    client = login("view_run", "control_run")
    ask = {"name": "ask", "type": "flow.approval", "with": {"permission": "testapp.add_note"}}
    run = make_run(ask)
    Run.objects.filter(pk=run.pk).update(subject_type=model, subject_id=key)
    run.refresh_from_db()
    assert run.subject is None
    assert client.get(change_url(run)).status_code == 200
    assert client.get("/admin/django_workflow/run/").status_code == 200


@pytest.mark.parametrize("items", [2, 30])
def test_questions_cost_the_same_however_many_they_are(login: Login, make_run: MakeRun, items: int) -> None:
    client = login("view_run", "testapp.add_note")
    question = {"permission": "testapp.add_note"}
    ask = {"name": "ask", "type": "flow.approval", "for_each": "items", "with": question}
    run = make_run(ask, input={"items": list(range(items))})
    client.get(change_url(run))
    with CaptureQueriesContext(connection) as queries:
        page = client.get(change_url(run)).context["page"]
    assert len([offer for offer in page.possible if offer.name.startswith("answer")]) == (
        2 if items == 2 else 1
    )
    assert len(queries) <= 16


def test_what_was_done_to_a_restart_does_not_change_what_it_was_built_on(
    login: Login, make_run: MakeRun
) -> None:
    client = login("view_run", "control_run", "override_run")
    run = make_run(ECHO, FAIL, input={"word": "a"})
    newer = restart_run(run)
    newer.actions.create(verb="skip", step="echo", at=newer.created_at)
    cancel_run(newer)
    assert "retry" in {offer.name for offer in client.get(change_url(run)).context["page"].possible}
    from_step = restart_run(run, from_step="broken")
    from_step.actions.create(verb="retry", at=from_step.created_at)
    assert "retry" not in {offer.name for offer in client.get(change_url(run)).context["page"].possible}


def test_rows_in_an_input_that_is_not_declared_are_not_offered_for_editing(
    login: Login, make_run: MakeRun
) -> None:
    client = login("view_run", "control_run", "view_run_payload")
    boss = User.objects.create_user("boss")
    run = make_run(FAIL, input={"user": boss, "n": 1})
    assert client.get(change_url(run, "restart")).context["form"].fields["input"].initial is None
    define("declared", steps=[FAIL], input={"user": "auth.User", "n": "int"})
    declared = trigger("declared", {"user": boss, "n": 1})
    cancel_run(declared)
    form = client.get(change_url(declared, "restart")).context["form"]
    assert form.fields["input"].initial == {"user": boss.pk, "n": 1}


def test_a_tag_that_was_weakened_on_the_way_is_known(login: Login, make_run: MakeRun) -> None:
    client = login("view_run")
    run = make_run(SLEEP)
    etag = look(client, run).headers["ETag"]
    assert look(client, run, f"W/{etag}").status_code == 304


def words_of(response: Any) -> list[tuple[str, str]]:
    """Return what the page that follows says: the level of each message, and its text without markup."""
    return [(each.level_tag, strip_tags(str(each))) for each in response.context["messages"]]


@pytest.mark.django_db(transaction=True)
def test_a_retry_that_fails_again_is_no_success(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    run = make_run(FAIL)
    told = words_of(client.post(change_url(run, "retry"), {"note": ""}, follow=True))
    assert told == [("warning", f"Retried: {run} But it has failed, at the step “broken”.")]
    MENDED.add("")
    told = words_of(client.post(change_url(run, "retry"), {"note": ""}, follow=True))
    assert told == [("success", f"Retried: {run}")]


def test_a_cancel_of_a_run_that_ends_otherwise_says_so(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run")
    run = make_run(SLEEP)
    until = timezone.now() + timedelta(minutes=1)
    held = {"lease_token": uuid4(), "lease_until": until, "due_at": until}
    run.step_runs.update(status="running", waiting_for="", **held)
    Run.objects.filter(pk=run.pk).update(status="running", ending="failed")
    told = words_of(client.post(change_url(run, "cancel"), {"note": ""}, follow=True))
    assert told == [("warning", f"Cancelled: {run} It was ending as failed before, and still does.")]


def test_refusals_in_the_browser_name_no_functions(login: Login, make_run: MakeRun) -> None:
    client = login("view_run", "control_run", "override_run")
    undone = {**ECHO, "undo": {"type": "admintest.echo"}}
    run = make_run(undone, FAIL, input={"word": "a"})
    undo_run(run)
    with pytest.raises(VerbRefused) as refused:
        retry_run(run)
    assert "_run" not in str(refused.value)
    reasons = [offer.reason for offer in client.get(change_url(run)).context["page"].impossible]
    assert not any("_run" in reason or "()" in reason for reason in reasons)
