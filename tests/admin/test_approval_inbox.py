"""The page of approvals: who sees what, how it is answered, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import path

from django_workflow import approve, cancel_run, define, trigger
from django_workflow.admin import ApprovalAdmin, approvals
from django_workflow.approval_form import give_answer
from django_workflow.exceptions import NotAllowed
from django_workflow.models import Answer, Approval, Run, StepRun
from tests.testapp.models import Order, Tag

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

PAGE = "/admin/django_workflow/approval/"
Ask = Callable[..., Run]

second_site = AdminSite("second")
second_site.register(Approval, ApprovalAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]


@pytest.fixture
def ask(django_capture_on_commit_callbacks: Any) -> Ask:
    """Return what starts a run that asks the user "staff", with these params."""

    def start(
        *, input: dict[str, Any] | None = None, step: dict[str, Any] | None = None, **params: Any
    ) -> Run:
        who = {} if params.keys() & {"permission", "group", "users"} else {"users": "staff"}
        asking = {"name": "ok", "type": "flow.approval", "with": {**who, **params}, **(step or {})}
        define("ask", description="What the boss decides", steps=[asking])
        with django_capture_on_commit_callbacks(execute=True):
            return trigger("ask", input)

    return start


@pytest.fixture
def staff(login: Login) -> Client:
    """Log in as a member of staff who may do nothing but answer."""
    return login()


def row_of(run: Run) -> StepRun:
    return StepRun.objects.get(run=run, waiting_for="approval")


def url_of(run: Run, site: str = "/admin") -> str:
    return f"{site}/django_workflow/approval/{row_of(run).pk}/"


def asked(client: Client, **query: Any) -> list[StepRun]:
    return [question.row for question in client.get(PAGE, query).context["questions"]]


def test_each_person_sees_what_they_may_answer_the_oldest_first(staff: Client, ask: Ask) -> None:
    first, second = ask(), ask()
    ask(permission="testapp.change_order")
    ask(users=User.objects.create_user("someone").pk)
    assert [row.run for row in asked(staff)] == [first, second]
    staff.logout()
    assert staff.get(PAGE).status_code == 302


def test_a_permission_is_enough_to_be_asked(login: Login, ask: Ask) -> None:
    run = ask(permission="testapp.change_order")
    assert [row.run for row in asked(login("testapp.change_order"))] == [run]


def test_the_menu_names_it_for_all_staff(staff: Client) -> None:
    assert PAGE in staff.get("/admin/").text


def test_it_says_what_is_asked_about_what_and_what_others_said(staff: Client, ask: Ask) -> None:
    boss = User.objects.create_user("boss")
    run = ask(
        users=["staff", boss.pk],
        count=2,
        message="Order <7>?\nIt is large.",
        step={"timeout": "1d"},
    )
    approve(run, "ok", by=boss, note="Fine <by> me")
    page = staff.get(PAGE)
    [question] = page.context["questions"]
    assert (question.headline, question.approved, question.needed) == ("Order <7>?", 1, 2)
    assert question.deadline is not None
    for text in ("Order &lt;7&gt;?", "It is large.", "What the boss decides", "1 of 2", "Fine &lt;by&gt; me"):
        assert text in page.text, text


def test_an_approval_without_a_message_goes_by_its_step(staff: Client, ask: Ask) -> None:
    ask()
    [question] = staff.get(PAGE).context["questions"]
    assert question.headline == "ok"


def test_without_anything_to_answer_it_says_so(staff: Client) -> None:
    assert "Nothing waits for your answer." in staff.get(PAGE).text


@pytest.mark.parametrize(("verdict", "is_approved"), [("approve", True), ("reject", False)])
def test_an_answer_is_kept_with_its_note(staff: Client, ask: Ask, verdict: str, is_approved: bool) -> None:
    run = ask()
    response = staff.post(url_of(run), {"verdict": verdict, "note_text": "so be it"}, follow=True)
    assert response.redirect_chain == [(PAGE, 302)]
    answer = Answer.objects.get()
    assert (answer.is_approved, answer.note, answer.name) == (is_approved, "so be it", "staff")
    assert ("Approved: ask" if is_approved else "Rejected: ask") in response.text
    assert asked(staff) == []


def test_opening_an_approval_shows_that_one_and_decides_nothing(staff: Client, ask: Ask) -> None:
    run = ask(message="The first?")
    ask(message="The second?")
    page = staff.get(url_of(run), {"verdict": "approve"})
    assert [question.row.run for question in page.context["questions"]] == [run]
    assert f'href="{PAGE}"' in page.text
    assert not Answer.objects.exists()


@pytest.mark.parametrize("given", [{}, {"verdict": "maybe"}, {"verdict": "approve", "data.limit": "x"}])
def test_what_is_wrong_is_shown_beside_it_and_nothing_typed_is_lost(
    staff: Client, ask: Ask, given: dict[str, str]
) -> None:
    run = ask(form={"limit": "int"})
    page = staff.post(url_of(run), {**given, "note_text": "typed with care"})
    assert page.status_code == 200
    assert "typed with care" in page.text
    assert "errorlist" in page.text
    assert not Answer.objects.exists()


def test_the_form_is_filled_in(staff: Client, ask: Ask) -> None:
    run = ask(form={"limit": "int", "fast": "bool"})
    staff.post(url_of(run), {"verdict": "approve", "data.limit": "7"})
    assert Answer.objects.get().data == {"limit": 7, "fast": False}


def test_a_rejection_needs_neither_form_nor_note(staff: Client, ask: Ask) -> None:
    run = ask(form={"limit": "int"})
    assert staff.post(url_of(run), {"verdict": "reject"}).status_code == 302
    assert not Answer.objects.get().is_approved


def test_who_may_not_answer_is_refused(staff: Client, ask: Ask) -> None:
    run = ask(permission="testapp.change_order", message="Only for your eyes")
    for response in (staff.get(url_of(run)), staff.post(url_of(run), {"verdict": "approve"})):
        assert response.status_code == 403
        assert "eyes" not in response.text
    assert not Answer.objects.exists()


def test_an_answer_needs_the_token_of_its_page(ask: Ask, staff: Client) -> None:
    run, careful = ask(), Client(enforce_csrf_checks=True)
    careful.force_login(User.objects.get(username="staff"))
    assert careful.post(url_of(run), {"verdict": "approve"}).status_code == 403
    assert not Answer.objects.exists()


def test_somebody_who_was_faster_is_named(staff: Client, ask: Ask) -> None:
    boss = User.objects.create_user("boss")
    run = ask(users=["staff", boss.pk])
    url = url_of(run)
    approve(run, "ok", by=boss)
    page = staff.post(url, {"verdict": "reject"}, follow=True)
    assert "this has been answered (boss: approved)" in page.text
    assert Answer.objects.count() == 1


def test_the_button_pressed_twice_answers_once(staff: Client, ask: Ask) -> None:
    run = ask(users=["staff", User.objects.create_user("boss").pk], count=2)
    for _ in range(2):
        page = staff.post(url_of(run), {"verdict": "approve"}, follow=True)
    assert page.status_code == 200
    assert "this has been answered (staff: approved)" in page.text
    assert Answer.objects.count() == 1


def test_a_right_that_is_lost_meanwhile_is_no_right(
    staff: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> bool:
        raise NotAllowed("lost meanwhile")

    monkeypatch.setattr(approvals, "give_answer", refuse)
    assert staff.post(url_of(ask()), {"verdict": "approve"}).status_code == 403


def test_what_is_not_asked_any_more_is_said(staff: Client, ask: Ask) -> None:
    run = ask()
    url = url_of(run)
    cancel_run(run)
    assert "this is not asked any more" in staff.get(url, follow=True).text


def test_what_was_never_asked_is_not_found(staff: Client, make_run: MakeRun) -> None:
    row = StepRun.objects.get(run=make_run({"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}))
    assert staff.get(f"{PAGE}{row.pk}/").status_code == 404
    assert staff.get(f"{PAGE}{row.run_id}/").status_code == 404


def test_the_run_is_linked_for_who_may_view_it(staff: Client, ask: Ask) -> None:
    run = ask()
    link = f'href="/admin/django_workflow/run/{run.pk}/change/"'
    assert link not in staff.get(PAGE).text
    user = User.objects.get(username="staff")
    user.user_permissions.add(Permission.objects.get(codename="view_run"))
    assert link in staff.get(PAGE).text


@pytest.mark.parametrize("permissions", [(), ("view_run", "view_run_payload")])
def test_of_an_item_its_number_is_shown_and_its_value_to_who_may_see_it(
    login: Login, ask: Ask, permissions: tuple[str, ...]
) -> None:
    client = login(*permissions)
    ask(step={"for_each": "cards"}, input={"cards": [{"number": "4711", "token": "hush"}]})
    text = client.get(PAGE).text
    assert "<dt>Item</dt><dd>1" in text
    assert ("4711" in text) == bool(permissions)
    assert "hush" not in text


def test_nothing_of_the_payload_is_shown(staff: Client, ask: Ask) -> None:
    ask(input={"card": "4111-1111"})
    assert "4111" not in staff.get(PAGE).text


def test_a_form_that_lists_rows_has_a_page_of_its_own(login: Login, ask: Ask) -> None:
    Tag.objects.create(name="red tag")
    client = login("testapp.view_tag")
    run = ask(form={"tag": "testapp.Tag"})
    page = client.get(PAGE)
    assert "red tag" not in page.text
    assert f'href="{url_of(run)}"' in page.text
    assert "red tag" in client.get(url_of(run)).text


def test_a_form_that_cannot_be_read_any_more_spoils_no_other(staff: Client, ask: Ask) -> None:
    ask()
    row = row_of(ask(form={"limit": "int"}))
    StepRun.objects.filter(pk=row.pk).update(awaits={**(row.awaits or {}), "form": {"limit": "gone.Model"}})
    assert len(asked(staff)) == 2
    page = staff.post(f"{PAGE}{row.pk}/", {"verdict": "approve"})
    assert "gone.Model" in page.text
    assert staff.post(f"{PAGE}{row.pk}/", {"verdict": "reject"}).status_code == 302


def test_the_ids_of_the_page_are_unique_and_labelled(staff: Client, ask: Ask) -> None:
    for _ in range(3):
        ask(form={"limit": {"type": "int", "help": "at most"}})
    ids = re.findall(r' id="([^"]+)"', staff.get(PAGE).text)
    assert len(ids) == len(set(ids))
    assert sum("limit" in each for each in ids) == 6


def test_many_cost_the_same_and_are_turned_page_by_page(
    staff: Client, ask: Ask, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "PER_PAGE", 6)
    boss = User.objects.create_user("boss")
    for number in range(8):
        about = Order.objects.create(number=f"O-{number}")
        run = ask(users=["staff", boss.pk], count=2, form={"limit": "int"}, input={"order": about})
        approve(run, "ok", by=boss, data={"limit": 1}, note="yes")
    with django_assert_max_num_queries(12):
        assert len(asked(staff)) == 6
    page = staff.get(PAGE, {"page": "2"})
    assert len(page.context["questions"]) == 2
    assert "Page 2 of 2" in page.text


def test_an_answer_comes_back_to_the_page_it_was_given_on(
    staff: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "PER_PAGE", 1)
    ask()
    ask()
    [question] = staff.get(PAGE, {"page": "2"}).context["questions"]
    response = staff.post(question.url, {"verdict": "approve"})
    assert response.headers["Location"] == f"{PAGE}?page=2"
    assert staff.get(response.headers["Location"]).status_code == 200


@override_settings(ROOT_URLCONF=__name__)
def test_a_second_site_answers_for_itself(staff: Client, ask: Ask) -> None:
    run = ask()
    text = staff.get("/second/django_workflow/approval/").text
    assert f'action="{url_of(run, "/second")}"' in text
    assert 'href="/admin/' not in text
    response = staff.post(url_of(run, "/second"), {"verdict": "approve"})
    assert response.headers["Location"] == "/second/django_workflow/approval/"


def test_a_run_that_is_deleted_before_the_answer_is_not_asked_any_more(
    staff: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask()

    def delete_first(*args: Any) -> bool:
        Run.objects.all().delete()
        return give_answer(*args)

    monkeypatch.setattr(approvals, "give_answer", delete_first)
    page = staff.post(url_of(run), {"verdict": "approve"}, follow=True)
    assert page.redirect_chain == [(PAGE, 302)]
    assert "Ask: this is not asked any more." in page.text
