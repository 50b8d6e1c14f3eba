"""Every page, light, dark and on a phone: no error, nothing the policy keeps out, no rule of axe's broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from django_workflow import define, restart_run, trigger
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.publish import publish
from django_workflow.engine.run_filters import RunFilters
from django_workflow.links import ApprovalLink, link_url
from django_workflow.models import Run, StepRun, Workflow
from tests.support.admin_step_types import change_url
from tests.testapp.models import Customer, Order

from .conftest import PHONE, MakeUser, OpenWindow

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

SITE = "/admin/django_workflow"
ORDER = [
    {"name": "charge", "type": "admintest.echo", "with": {"value": {"id": "ch_1"}}},
    {"name": "approve", "type": "flow.branch", "with": {"if": "total > 1000", "then": "refuse"}},
    {"name": "reserve", "type": "admintest.echo", "needs": ["approve"]},
    {"name": "invoice", "type": "admintest.fail", "needs": ["approve"], "on_error": "continue"},
    {"name": "tell", "type": "admintest.echo", "needs": ["reserve"], "for_each": "watchers"},
    {"name": "ship", "type": "admintest.fail", "needs": ["reserve", "invoice"]},
    {"name": "refuse", "type": "admintest.echo", "needs": "jump", "next": "end"},
]
INPUT = {"total": 59, "watchers": ["ann@example.com", "bob@example.com", "cleo@example.com"]}
ASK = {
    "name": "ask",
    "type": "flow.approval",
    "with": {
        "permission": "testapp.add_note",
        "message": "20 % for Ann?",
        "form": {"up_to": {"type": "Decimal", "help": "On at most so much."}},
    },
    "timeout": "3d",
}


def failed_run() -> Run:
    define("order", steps=ORDER, description="From an order to a parcel")
    return trigger("order", INPUT, key="order-17", subject=some_order(), user=User.objects.get())


def some_order() -> Order:
    customer = Customer.objects.create(name="Ann", email="ann@example.com")
    return Order.objects.create(number="17", customer=customer, total=59)


def waiting_run() -> Run:
    define("discount", steps=[{"name": "check", "type": "admintest.echo"}, ASK])
    return trigger("discount", {"customer": "Ann"})


def done_run() -> Run:
    define("welcome", steps=[{"name": "greet", "type": "admintest.echo", "with": {"value": "Hello"}}])
    return trigger("welcome", key="signup-1")


def late_run() -> Run:
    run = trigger(define("late", steps=[{"name": "rest", "type": "flow.sleep", "with": {"for": "1h"}}]))
    StepRun.objects.update(due_at=timezone.now() - timedelta(minutes=10))
    return run


def several() -> None:
    """Let there be runs in many states."""
    failed = failed_run()
    waiting_run()
    for number in range(12):
        define("welcome", steps=[{"name": "greet", "type": "admintest.echo", "with": {"value": number}}])
        trigger("welcome", key=f"signup-{number}")
    restart_run(failed, from_step="ship")


def draft() -> Workflow:
    workflow = Workflow.objects.create(name="draft", description="Not yet published")
    workflow.steps.create(position=0, name="first", type="mail.send", params={"to": "{{ email }}"})
    workflow.steps.create(position=1, name="second", type="admintest.echo", condition="total > 1")
    return workflow


def published() -> Workflow:
    workflow = draft()
    publish(workflow, using="default", by=User.objects.get())
    return workflow


def declared() -> Workflow:
    some_order()
    input = {
        "order": "testapp.Order",
        "quantity": {"type": "int", "default": 1, "help": "How many pieces."},
        "kind": {"type": "str", "choices": ["letter", "parcel"]},
        "on": {"type": "date", "required": False},
        "since": {"type": "datetime", "required": False},
        "at": {"type": "time", "required": False},
        "words": {"type": "list", "default": []},
        "is_gift": "bool",
    }
    return define("declared", steps=[{"type": "admintest.echo"}], input=input)


def bulk_page() -> str:
    failed_run()
    bulk = start_bulk("retry", RunFilters(status=("failed",)), by=User.objects.get(), using="default")
    return change_url(bulk)


def with_several(path: str) -> Callable[[], str]:
    """Return what prepares a page that lists things."""

    def prepare() -> str:
        several()
        return path

    return prepare


def subject_page() -> str:
    run = failed_run()
    return f"/admin/testapp/order/{run.subject_id}/change/"


def step_run_page() -> str:
    return change_url(failed_run().step_runs.get(step="ship"))


def version_page() -> str:
    failed_run()
    version = Workflow.objects.get().published
    assert version is not None
    return change_url(version)


def approval_link() -> str:
    row = waiting_run().step_runs.get(step="ask")
    return link_url(ApprovalLink(using="default", step_run_id=row.pk, user=str(User.objects.get().pk)))


# Its name in pictures, and what prepares rows and returns its address.
PAGES: Mapping[str, Callable[[], str]] = {
    "workflows": with_several(f"{SITE}/workflow/"),
    "workflow-draft": lambda: change_url(draft()),
    "workflow-published": lambda: change_url(published()),
    "workflow-of-code": lambda: change_url(failed_run().workflow),
    "trigger": lambda: change_url(declared(), "trigger"),
    "trigger-free": lambda: change_url(failed_run().workflow, "trigger"),
    "version": version_page,
    "runs": with_several(f"{SITE}/run/"),
    "runs-unresolved": with_several(f"{SITE}/run/?state=unresolved&_facets=True"),
    "run-done": lambda: change_url(done_run()),
    "run-failed": lambda: change_url(failed_run()),
    "run-waiting": lambda: change_url(waiting_run()),
    "run-late": lambda: change_url(late_run()),
    "step-run": step_run_page,
    "subject": subject_page,
    "cancel": lambda: change_url(waiting_run(), "cancel"),
    "retry": lambda: change_url(failed_run(), "retry"),
    "restart": lambda: change_url(failed_run(), "restart"),
    "skip": lambda: change_url(failed_run(), "skip"),
    "event": lambda: change_url(waiting_run(), "event"),
    "bulk": with_several(f"{SITE}/run/bulk/?state=failed"),
    "bulk-retry": with_several(f"{SITE}/run/bulk/retry/?state=failed"),
    "bulk-action": bulk_page,
    "failures": with_several(f"{SITE}/failure/"),
    "failures-none": lambda: f"{SITE}/failure/",
    "approvals": with_several(f"{SITE}/approval/"),
    "health": with_several(f"{SITE}/health/"),
    "step-types": lambda: f"{SITE}/steptype/",
    "approval-link": approval_link,
    "index": lambda: "/admin/",
}
VARIANTS: Mapping[str, dict[str, Any]] = {
    "light": {},
    "dark": {"scheme": "dark"},
    "phone": {"width": PHONE},
}
# A policy knows neither colours nor widths, and a newer Django's style sheets are as wide as the oldest's.
CHOSEN = ["light"] if settings.CSP == "nonce" else list(VARIANTS)[: 3 if django.VERSION < (6, 0) else 2]


@pytest.fixture(autouse=True)
def base_url(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DJANGO_WORKFLOW", {"QUEUE": None, "BASE_URL": live_server.url})


@pytest.mark.parametrize("name", PAGES)
def test_a_page_breaks_no_rule(open_window: OpenWindow, make_user: MakeUser, name: str) -> None:
    window = open_window(make_user())
    path = PAGES[name]()
    for variant in CHOSEN:
        window.turn(**VARIANTS[variant])
        assert window.open(path).status == 200
        window.examine(name)


def test_a_page_that_breaks_the_rules_is_found(open_window: OpenWindow, make_user: MakeUser) -> None:
    window = open_window(make_user())
    window.open(reverse("admin:index"))
    window.page.evaluate(
        """document.querySelector("#content").insertAdjacentHTML(
            "beforeend", '<img src="/nowhere.png" style="width: 3000px">')"""
    )
    with pytest.raises(AssertionError):
        window.examine("broken")
    assert any("404" in problem for problem in window.problems)
    assert any("style-src" in problem for problem in window.problems)


def test_what_is_left_out_is_broken_by_stock_pages(
    open_window: OpenWindow, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .visitor import STOCK

    stock = admin.site.get_model_admin(User)
    monkeypatch.setattr(stock, "search_help_text", "The beginning of a name.")
    monkeypatch.setattr(stock, "show_full_result_count", False)
    window = open_window(make_user())
    window.turn(width=PHONE)
    found = set()
    for page in ("admin:auth_user_changelist", "admin:app_list"):
        window.open(reverse(page, kwargs={"app_label": "auth"} if page == "admin:app_list" else None))
        found |= window.find_stock()
    assert found == STOCK


def test_a_page_is_still_right_after_it_was_examined(open_window: OpenWindow, make_user: MakeUser) -> None:
    user = make_user()
    window = open_window(user)
    window.open(change_url(failed_run()))
    window.examine("run-failed")
    assert window.problems == []
