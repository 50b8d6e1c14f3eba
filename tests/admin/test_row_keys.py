"""Rows of any key in the admin: picked, named in JSON, and shown as what a run is about."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.utils.html import escape

from django_workflow import define, trigger
from django_workflow.admin import picking
from django_workflow.links import ApprovalLink, link_url
from django_workflow.models import Run
from tests.support.admin_step_types import change_url, errors_of, form_data
from tests.testapp.models import Paper, Seat

from .conftest import Login, MakeRun

pytestmark = pytest.mark.django_db

ECHO = {"name": "echo", "type": "admintest.echo"}
VIEW = "testapp.view_seat"
KEY = json.dumps(["A", 7])
ADD = "/admin/django_workflow/workflow/add/"


class SeatForm(forms.Form):
    seat = forms.ModelChoiceField(Seat.objects.all())


@pytest.fixture(autouse=True)
def seat() -> Seat:
    return Seat.objects.create(hall="A", number=7)


@pytest.mark.parametrize("most", [50, 0])
def test_a_row_with_a_key_of_several_columns_is_picked(
    login: Login, seat: Seat, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(picking, "MOST_LISTED", most)
    workflow = define("reserve", steps=[ECHO], input={"seat": "testapp.Seat"})
    url, client = change_url(workflow, "trigger"), login("trigger_workflow", VIEW)
    assert "A 7" in client.get(f"{url}?data.seat={KEY}").text
    for wrong in ("x", "[1]", '["B", 7]'):
        assert client.post(url, {"data.seat": wrong}).status_code == 200
    assert not Run.objects.exists()
    assert client.post(url, {"data.seat": KEY}).status_code == 302
    run = Run.objects.get()
    assert (run.subject, run.input["seat"]["pk"]) == (seat, KEY)


def test_the_command_that_is_shown_starts_the_same_run(login: Login, seat: Seat) -> None:
    workflow = define("reserve", steps=[ECHO], input={"seat": "testapp.Seat"})
    page = login("trigger_workflow", VIEW).get(change_url(workflow, "trigger"), {"data.seat": KEY})
    command = shlex.join(["--input", json.dumps({"seat": KEY})])
    assert escape(command) in page.text
    call_command("trigger_workflow", "reserve", *shlex.split(command))
    assert Run.objects.get().input == {"seat": {"$model": "testapp.seat", "pk": KEY}}


@pytest.mark.parametrize("key", [["A", 7], KEY])
@pytest.mark.parametrize("type", ["keys.take", "keys.form"])
def test_a_key_of_several_columns_names_a_row_that_one_may_view(
    login: Login, register: Callable[..., Any], type: str, key: Any
) -> None:
    def take(seat: Any) -> None: ...

    take.__annotations__["seat"] = Seat
    register("keys.take")(take)
    register("keys.form", form=SeatForm)(take)
    params = json.dumps({"seat": key})
    data = form_data(None, {"name": "take", "type": type, "params": params})
    client = login("add_workflow", "change_workflow")
    refused = errors_of(client, ADD, data)
    assert ["that you may view." in text for text in refused["steps-0-params"]] == [True]
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_seat"))
    assert client.post(ADD, data).status_code == 302


def test_what_a_run_is_about_is_shown(login: Login, seat: Seat) -> None:
    define("reserve", steps=[ECHO])
    run = trigger("reserve", subject=seat)
    client = login("view_run")
    assert escape(KEY) in client.get(change_url(run)).text
    listed = client.get("/admin/django_workflow/run/", {"about": f"testapp.seat:{KEY}"})
    assert str(run.pk)[:8] in listed.text


def test_a_row_with_a_long_key_starts_a_run_that_is_about_nothing(login: Login) -> None:
    paper = Paper.objects.create(title="x" * 300)
    workflow = define("print", steps=[ECHO], input={"paper": "testapp.Paper"})
    client = login("trigger_workflow", "testapp.view_paper")
    assert client.post(change_url(workflow, "trigger"), {"data.paper": paper.pk}).status_code == 302
    assert (Run.objects.get().subject, Run.objects.get().input["paper"]["pk"]) == (None, paper.pk)


def test_a_restart_takes_only_rows_that_the_operator_may_view(
    login: Login, seat: Seat, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    Seat.objects.create(hall="B", number=7)
    define("reserve", steps=[ECHO], input={"seat": "testapp.Seat"})
    with django_capture_on_commit_callbacks(execute=True):
        run = trigger("reserve", {"seat": seat})
    client = login("view_run", "control_run", "view_run_payload")

    def restart(key: Any) -> Any:
        data = {"input": json.dumps({"seat": key}), "confirmed": "1"}
        return client.post(change_url(run, "restart"), data)

    for key in (["B", 7], ["C", 7]):
        assert "is no seat that you may view." in restart(key).text
    assert restart(KEY).status_code == 302
    assert Run.objects.count() == 2


@pytest.mark.parametrize("is_viewer", [False, True])
def test_an_answer_names_a_row_by_a_key_of_several_columns(
    login: Login, make_run: MakeRun, seat: Seat, settings: Any, is_viewer: bool
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", f"{__name__}.OneSeat"]
    client = login(*[VIEW] * is_viewer)
    ask = {"users": ["staff"], "form": {"seat": "testapp.Seat"}}
    row = make_run({"name": "ask", "type": "flow.approval", "with": ask}).step_runs.get()
    link = ApprovalLink(using="default", step_run_id=row.pk, user=str(User.objects.get().pk))
    url = link_url(link).removeprefix("https://shop.example")
    for wrong in ("x", "[1]", '["C", 7]'):
        assert client.post(url, {"verdict": "approve", "data.seat": wrong}).status_code == 200
    assert client.post(url, {"verdict": "approve", "data.seat": KEY}).status_code == 302
    assert row.answers.get().data == {"seat": {"$model": "testapp.seat", "pk": KEY}}


class OneSeat:
    """A backend by which everybody may view single seats."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: User, permission: str, obj: Any = None) -> bool:
        return permission == VIEW and obj is not None


def test_a_form_of_a_step_takes_a_row_with_a_key_of_several_columns(
    register: Callable[..., Any], make_run: MakeRun, seat: Seat
) -> None:
    def take(seat: Any) -> str:
        return str(seat)

    register("keys.form", form=SeatForm)(take)
    run = make_run(
        {"name": "take", "type": "keys.form", "with": {"seat": "{{ seat }}"}}, input={"seat": seat}
    )
    assert run.output == "A 7"
