"""What people come for: a failed run put right at night, an order approved from a mail, a run watched."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connections

from django_workflow import cancel_run, define, pause_run, send_event, trigger
from django_workflow.models import Run
from tests.support.admin_step_types import MENDED, change_url
from tests.testapp.models import Order

from .conftest import MakeUser, OpenWindow
from .keyboard import follow, go_to

if TYPE_CHECKING:
    from .visitor import Visitor

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = {"name": "broken", "type": "admintest.fail", "with": {"message": "the bank said no"}}
WAIT = {"name": "pay", "type": "flow.wait", "with": {"event": "paid"}}


def text_of(window: Visitor) -> str:
    return str(window.page.inner_text("body"))


@pytest.mark.parametrize("has_script", [True, False])
def test_a_failed_run_is_put_right_with_the_keyboard_alone(
    open_window: OpenWindow, make_user: MakeUser, has_script: bool
) -> None:
    run = trigger(define("order", steps=[FAIL]), key="order-17")
    window = open_window(make_user(), has_script=has_script)
    window.open("/admin/")
    assert follow(window, "a Failures") == "/admin/django_workflow/failure/"
    assert "the bank said no" in text_of(window)
    assert follow(window, "a 1$") == "/admin/django_workflow/run/"
    assert follow(window, f"a {str(run.pk)[:13]}") == change_url(run)
    assert "It failed at" in text_of(window)
    assert "the bank said no" in text_of(window)
    MENDED.add("the bank")
    assert follow(window, "a Retry") == change_url(run, "retry")
    go_to(window, "textarea")
    window.page.keyboard.type("the bank is back")
    assert follow(window, "button Yes") == change_url(run)
    if has_script:
        window.page.wait_for_selector(".workflow-head .workflow-badge[data-status=done]")
    assert "It was done at" in text_of(window)
    assert "the bank is back" in text_of(window)
    assert Run.objects.get().actions.get().by == User.objects.get()
    assert window.problems == []


@pytest.mark.parametrize("has_script", [True, False])
def test_an_order_is_approved_from_the_link_in_a_mail(
    open_window: OpenWindow, make_user: MakeUser, settings: Any, live_server: Any, has_script: bool
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": live_server.url}
    make_user(name="boss")
    question = {"permission": "testapp.add_note", "message": "A desk for 1280?", "notify": True}
    run = trigger(define("order", steps=[{"name": "ask", "type": "flow.approval", "with": question}]))
    [letter] = mail.outbox
    link = next(line for line in str(letter.body).splitlines() if "://" in line)
    window = open_window(has_script=has_script)
    window.open(link.strip())
    assert "A desk for 1280?" in text_of(window)
    go_to(window, "textarea")
    window.page.keyboard.type("a good customer")
    follow(window, "button Approve")
    assert "This has been answered." in text_of(window)
    run.refresh_from_db()
    assert (run.status, run.output["note"], run.output["by"]) == ("done", "a good customer", ["boss"])
    assert window.problems == []


def test_an_approval_is_given_in_the_inbox(open_window: OpenWindow, make_user: MakeUser) -> None:
    question = {"permission": "testapp.add_note", "message": "A desk?", "form": {"up_to": "int"}}
    run = trigger(define("order", steps=[{"name": "ask", "type": "flow.approval", "with": question}]))
    window = open_window(make_user("testapp.add_note"))
    window.open("/admin/")
    follow(window, "a Approvals")
    go_to(window, "input .*up_to")
    window.page.keyboard.type("500")
    follow(window, "button Approve")
    run.refresh_from_db()
    assert (run.status, run.output["data"]) == ("done", {"up_to": 500})
    assert "A desk?" not in text_of(window)
    assert window.problems == []


def test_a_run_is_watched_until_it_is_done(open_window: OpenWindow, make_user: MakeUser) -> None:
    run = trigger(define("order", steps=[WAIT, {"name": "after", "type": "admintest.echo"}]))
    window = open_window(make_user())
    window.page.clock.install()
    window.open(change_url(run))
    window.page.click("summary:has-text('As a table')")
    window.page.click("summary:has-text('Input')")
    window.page.focus("#verb-event")
    address = window.page.url
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    pause_run(run)
    window.page.wait_for_selector(".workflow-head .workflow-badge[data-status=paused]")
    assert "paused by somebody" in window.page.inner_text("[role=status]")
    assert window.page.evaluate("document.activeElement.id") == "verb-event"
    assert window.page.get_attribute("#workflow-steps", "open") is not None
    assert window.page.get_attribute("#workflow-data-1", "open") is not None
    assert window.page.get_attribute("#workflow-data-2", "open") is None
    cancel_run(run)
    window.page.wait_for_selector(".workflow-head .workflow-badge[data-status=cancelled]")
    assert window.page.url == address
    count = len(asked)
    window.page.clock.run_for(60_000)
    assert len(asked) == count
    assert window.problems == []


def test_a_step_is_opened_and_closed_in_place(open_window: OpenWindow, make_user: MakeUser) -> None:
    run = trigger(define("order", steps=[{"type": "admintest.echo", "with": {"value": "telling"}}, WAIT]))
    window = open_window(make_user())
    window.open(change_url(run))
    go_to(window, r"a Details\s*: admintest_echo")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector(".workflow-opened")
    assert "telling" in text_of(window)
    assert "Close" in window.page.evaluate("document.activeElement.innerText")
    window.page.reload()
    assert "telling" in text_of(window)
    window.page.focus(".workflow-open[aria-expanded=true]")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector(".workflow-opened", state="detached")
    assert window.problems == []


def test_a_page_stops_asking_when_the_session_is_over(open_window: OpenWindow, make_user: MakeUser) -> None:
    run = trigger(define("order", steps=[WAIT]))
    window = open_window(make_user())
    window.page.clock.install()
    window.expected.add(403)
    window.open(change_url(run))
    window.context.clear_cookies()
    window.page.wait_for_selector(".workflow-over")
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    pause_run(run)
    window.page.clock.run_for(60_000)
    assert asked == []
    assert "You are logged out" in text_of(window)


def test_a_run_that_changes_all_the_time_is_followed(open_window: OpenWindow, make_user: MakeUser) -> None:
    steps = [{**WAIT, "name": f"pay_{number}"} for number in range(5)]
    run = trigger(define("order", steps=steps))
    window = open_window(make_user())
    window.open(change_url(run))

    def pay() -> None:
        for _ in range(5):
            send_event(run, "paid")
        connections.close_all()

    paying = threading.Thread(target=pay)
    paying.start()
    paying.join()
    window.page.wait_for_selector(".workflow-head .workflow-badge[data-status=done]")
    assert window.problems == []


def test_who_may_only_look_sees_neither_verb_nor_payload(
    open_window: OpenWindow, make_user: MakeUser
) -> None:
    run = trigger(define("order", steps=[FAIL, WAIT]), {"word": "telling"})
    window = open_window(make_user("view_run"))
    seen = []
    window.page.on("response", lambda response: seen.append(urlsplit(response.url).path))
    for path in (change_url(run), "/admin/django_workflow/run/", "/admin/django_workflow/failure/"):
        window.open(path)
        window.page.wait_for_load_state("networkidle")
        source = window.page.content()
        assert "telling" not in source
        assert "the bank said no" not in source
        assert "Retry" not in text_of(window)
    assert window.problems == []


def test_a_workflow_is_run_for_chosen_rows(open_window: OpenWindow, make_user: MakeUser) -> None:
    for number in range(2):
        Order.objects.create(number=f"A {number}")
    input = {"order": "testapp.Order", "kind": {"type": "str", "choices": ["letter", "parcel"]}}
    define("send", steps=[{"type": "admintest.echo"}], input=input)
    define("bill", steps=[{"type": "admintest.echo"}], input={"order": "testapp.Order"})
    window = open_window(make_user())
    window.open("/admin/testapp/order/")
    window.page.check("#action-toggle")
    window.page.select_option("select[name=action]", label="Run a workflow…")
    window.page.click("button[name=index]")
    window.examine("subject-action-workflow")
    window.page.check("input[value='send:order']")
    window.page.click("button:has-text('Go on')")
    window.examine("subject-action")
    window.page.click("button:has-text('Start')")
    window.page.wait_for_selector(".messagelist")
    assert {run.subject for run in Run.objects.all()} == set(Order.objects.all())
    assert set(Run.objects.values_list("workflow__name", "status")) == {("send", "done")}
