"""No text of a definition, of a run or of a person is markup: one payload in all of them, on every page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_workflow import StepContext, cancel_run, define, reject, restart_run, send_event, trigger
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.links import ApprovalLink, link_url
from django_workflow.models import Run, Step, StepRun, Workflow
from tests.support.admin_step_types import change_url, form_data
from tests.testapp.models import Order

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.one_database]

# It leaves an attribute by either quote, and an element; and is short enough for every column.
EVIL = """'"><x-evil onevil=1>"""
DECLARED: dict[str, Any] = {
    EVIL: {"type": "str", "help": EVIL, "required": False},
    "choice": {"type": "str", "choices": [[EVIL, EVIL], ["b", EVIL]], "help": EVIL, "initial": "b"},
    "order": {"type": "testapp.Order", "help": EVIL, "required": False},
    "free": {"type": "dict", "help": EVIL, "initial": {EVIL: EVIL}, "required": False},
    "text": {"type": "str", "help": EVIL, "default": EVIL},
}


class Markup(HTMLParser):
    """Collects what of the payload became an element or an attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "x-evil" or any("evil" in name for name, _value in attributes):
            self.found.append(self.get_starttag_text() or tag)


def markup_in(html: str) -> list[str]:
    return Markup(html).found + re.findall("<x-evil", html)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Rows that hold the payload wherever they hold text."""

    user: User
    workflow: Workflow
    draft: Workflow
    asking: Run
    failed: Run
    order: Order

    @property
    def question(self) -> StepRun:
        return self.asking.step_runs.get(step="ask")

    @property
    def link(self) -> str:
        link = ApprovalLink(using="default", step_run_id=self.question.pk, user=str(self.user.pk))
        return link_url(link).removeprefix("https://shop.example")


@pytest.fixture
def world(
    admin_client: Client, register: Any, settings: Any, django_capture_on_commit_callbacks: Any
) -> World:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    register("hostile.tell", label=EVIL, help_text=EVIL)(_tell)
    register("hostile.fail")(_fail)
    User.objects.update(username=EVIL)
    user = User.objects.get()
    order = Order.objects.create(number=EVIL)
    with django_capture_on_commit_callbacks(execute=True):
        workflow = define("hostile", description=EVIL, input=DECLARED, steps=_steps())
        values = {EVIL: EVIL, "choice": EVIL, "order": order, "free": {EVIL: EVIL}}
        asking = trigger("hostile", values, key=EVIL, subject=order, user=user)
        failed = trigger(define("failing", description=EVIL, steps=[FAIL]), {"comment": EVIL}, user=user)
    with django_capture_on_commit_callbacks(execute=True):
        send_event(asking, EVIL, {EVIL: EVIL})
        reject(asking, "first", by=user, note=EVIL)
        restart_run(failed, by=user, note=EVIL)
    draft = Workflow.objects.create(name=EVIL, description=EVIL, source=EVIL, input=DECLARED)
    Step.objects.create(workflow=draft, position=1, name=EVIL, type=EVIL, params={EVIL: EVIL}, condition=EVIL)
    return World(user=user, workflow=workflow, draft=draft, asking=asking, failed=failed, order=order)


FAIL = {"name": "broken", "type": "hostile.fail", "with": {"message": "{{ comment }}"}}


def _tell(context: StepContext, text: str, **more: Any) -> Any:
    context.log(text)
    context.state[text] = [text]
    return {text: text, **more}


def _fail(message: str) -> None:
    raise type(message, (ValueError,), {})(message)


def _steps() -> list[dict[str, Any]]:
    ask = {"users": [EVIL], "message": "{{ text }}", "allow_self": True}
    asked = {name: {**about, "help": "{{ text }}"} for name, about in DECLARED.items()}
    return [
        {"name": "tell", "type": "hostile.tell", "with": {"text": EVIL, EVIL: EVIL}},
        {**FAIL, "with": {"message": EVIL}, "on_error": "continue", "needs": []},
        {"name": "odd", "type": "hostile.tell", "with": {"text": EVIL}, "queue": EVIL, "needs": ["tell"]},
        {"name": "first", "type": "flow.approval", "with": ask, "on_error": "continue", "needs": []},
        {"name": "ask", "type": "flow.approval", "with": {**ask, "form": asked}, "needs": ["tell"]},
        {
            "name": "small",
            "type": "flow.approval",
            "with": {**ask, "form": {EVIL: asked["text"]}},
            "needs": [],
        },
        {"name": "wait", "type": "flow.wait", "with": {"event": ["{{ text }}", "go"]}, "needs": []},
        {"name": "more", "type": "flow.wait", "with": {"event": "{{ text }}"}, "needs": []},
    ]


def _bulk(world: World) -> str:
    filters = RunFilters(workflow=EVIL, error=EVIL, search=EVIL)
    bulk = start_bulk("skip", filters, by=world.user, note=EVIL, arguments={"step": EVIL}, using="default")
    bulk.refusals = {str(world.failed.pk): EVIL}
    bulk.save()
    return change_url(bulk)


def _used(world: World) -> str:
    link = world.link
    reject(world.asking, "ask", by=world.user, note=EVIL)
    return link


APP = "/admin/django_workflow/"
PAGES: Mapping[str, Callable[[World], str]] = {
    "workflows": lambda world: f"{APP}workflow/?q={EVIL}",
    "workflow": lambda world: change_url(world.workflow),
    "draft": lambda world: change_url(world.draft),
    "history": lambda world: change_url(world.workflow, "history"),
    "edit here": lambda world: change_url(world.workflow, "edit-here"),
    "delete": lambda world: change_url(world.draft, "delete"),
    "trigger": lambda world: change_url(world.workflow, "trigger") + f"?key={EVIL}&data.text={EVIL}",
    "version": lambda world: change_url(world.asking.version),
    "versions": lambda world: f"{APP}workflowversion/",
    "runs": lambda world: f"{APP}run/?_facets=True&q={EVIL}",
    "filtered": lambda world: f"{APP}run/?workflow={EVIL}&error={EVIL}&stopped_at={EVIL}&about={EVIL}",
    "run": lambda world: change_url(world.asking),
    "live": lambda world: change_url(world.asking, "live"),
    "opened": lambda world: change_url(world.asking) + "?open=" + _pks(world.asking),
    "failed": lambda world: change_url(world.failed),
    "restart": lambda world: change_url(world.failed, "restart"),
    "skip": lambda world: change_url(world.asking, "skip"),
    "event": lambda world: change_url(world.asking, "event"),
    "cancel": lambda world: change_url(world.asking, "cancel"),
    "run's history": lambda world: change_url(world.failed, "history"),
    "step run": lambda world: change_url(world.asking.step_runs.get(step="tell")),
    "failed step run": lambda world: change_url(world.failed.step_runs.get()),
    "step runs": lambda world: f"{APP}steprun/?q={EVIL}",
    "bulk": lambda world: f"{APP}run/bulk/?error={EVIL}",
    "bulk retry": lambda world: f"{APP}run/bulk/retry/?state=failed",
    "bulk action": _bulk,
    "bulk actions": lambda world: _bulk(world) and f"{APP}bulkaction/",
    "failures": lambda world: f"{APP}failure/",
    "approvals": lambda world: f"{APP}approval/",
    "approval": lambda world: _answer(world)[0],
    "health": lambda world: f"{APP}health/",
    "step types": lambda world: f"{APP}steptype/?q={EVIL}",
    "all step types": lambda world: f"{APP}steptype/",
    "row": lambda world: change_url(world.order).replace("django_workflow", "testapp"),
    "link": lambda world: world.link,
    "index": lambda world: "/admin/",
    # The last: it answers what the others show.
    "used link": _used,
}


def _pks(run: Run) -> str:
    return ",".join(str(pk) for pk in run.step_runs.values_list("pk", flat=True))


def test_every_page_shows_texts_as_texts(admin_client: Client, world: World) -> None:
    pages = {name: admin_client.get(prepare(world)) for name, prepare in PAGES.items()}
    assert {name: page.status_code for name, page in pages.items() if page.status_code != 200} == {}
    assert {name: found for name, page in pages.items() if (found := markup_in(page.text))} == {}


def _verb(verb: str, **data: Any) -> Callable[[World], tuple[str, dict[str, Any]]]:
    def prepare(world: World) -> tuple[str, dict[str, Any]]:
        run = world.failed if verb == "restart" else world.asking
        return change_url(run, verb), {"note": EVIL, "confirmed": "1", **data}

    return prepare


def _publish(world: World) -> tuple[str, dict[str, Any]]:
    return change_url(world.draft), form_data(world.draft, _publish="1", input=f'{{"x": "{EVIL[1:]}"}}')


def _answer(world: World, **data: Any) -> tuple[str, dict[str, Any]]:
    return reverse("admin:django_workflow_approval_answer", args=[world.question.pk]), data


def _choose(world: World) -> tuple[str, dict[str, Any]]:
    chosen = {"_selected_action": [world.order.pk], "workflow_and_field": "hostile:order"}
    data = {"action": "run_workflow", **chosen}
    return "/admin/testapp/order/", data


FORMS: Mapping[str, Callable[[World], tuple[str, dict[str, Any]]]] = {
    "trigger": lambda world: (
        change_url(world.workflow, "trigger"),
        {"data.choice": EVIL, "data.order": EVIL, "data.free": EVIL, f"data.{EVIL}": EVIL, "key": EVIL},
    ),
    "trigger as code": lambda world: (
        change_url(world.workflow, "trigger"),
        {"data.choice": EVIL, "data.text": EVIL, "data.free": "{}", "key": EVIL, "_preview": "1"},
    ),
    "run a workflow": _choose,
    "run a workflow wrongly": lambda world: (
        _choose(world)[0],
        {**_choose(world)[1], "confirmed": "1", "data.choice": EVIL, "data.free": EVIL},
    ),
    "publish": _publish,
    "restart": _verb("restart", input=f'{{"{EVIL[2:]}": 1, "choice": "{EVIL[2:]}"}}'),
    "restart badly": _verb("restart", input=EVIL, from_step=EVIL),
    "skip": _verb("skip", step=EVIL, output=EVIL),
    "event": _verb("event", name=EVIL, id=EVIL, payload=EVIL),
    "send event": _verb("event", name=EVIL, id=EVIL),
    "approve wrongly": lambda world: _answer(
        world, verdict="approve", **{"data.choice": EVIL, "data.free": EVIL}
    ),
    "reject": lambda world: _answer(world, verdict="reject", note_text=EVIL),
    "link": lambda world: (world.link, {"verdict": "approve", "data.choice": EVIL, "note_text": EVIL}),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_comes_of_a_form_shows_texts_as_texts(admin_client: Client, world: World, name: str) -> None:
    address, data = FORMS[name](world)
    response = admin_client.post(address, data, follow=True)
    assert response.status_code == 200
    assert markup_in(response.text) == []


@pytest.mark.parametrize("name", ["trigger", "approvals", "approval", "link", "event", "run a workflow"])
def test_a_help_text_is_shown_as_it_was_written(admin_client: Client, world: World, name: str) -> None:
    pages = {name: admin_client.get(PAGES[name](world)) for name in PAGES.keys() & {name}}
    page = pages.get(name) or admin_client.post(*FORMS[name](world))
    helps = re.findall(r'id="[^"]*_helptext"[^>]*>([^\n]*?)</div>', page.text)
    assert any(EVIL in unescape(text) for text in helps)


def test_a_run_that_was_cancelled_shows_why(admin_client: Client, world: World) -> None:
    cancel_run(world.asking, by=world.user, note=EVIL)
    assert markup_in(admin_client.get(change_url(world.asking)).text) == []
