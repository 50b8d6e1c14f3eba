"""The tables of workflows in a database of their own, and a read replica that lags: what is read where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.core.management import call_command
from django.db import connections
from django.test import Client

from django_workflow import approve, cancel_run, define, retry_run, trigger
from django_workflow.models import Answer, Run, RunAction, StepRun
from tests.support import admin_step_types as step_types  # noqa: F401
from tests.support.every_page import PAGES
from tests.testapp.models import Customer, Order

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
OURS = "django_workflow_"
ASK = {"name": "ask", "type": "flow.approval", "with": {"permission": "testapp.add_note", "notify": True}}


class Own:
    """As Django's documentation has it: the app's rows in a database of their own, no word about others."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_workflow" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "other") == (app_label == "django_workflow")


class Lagging:
    """Reads of the app's rows from a replica, to which nothing of a test has come yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_workflow" else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


def refuse(is_wrong: Callable[[str], bool]) -> Callable[..., Any]:
    def execute(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        assert not is_wrong(sql), f"{context['connection'].alias} has no such table: {sql}"
        return execute(sql, params, many, context)

    return execute


def is_about_others(sql: str) -> bool:
    return any(part in sql for part in ("auth_", "testapp_", "django_admin", "django_session", "_content_"))


@pytest.fixture
def own(settings: Any) -> Iterator[None]:
    settings.DATABASE_ROUTERS = [f"{__name__}.Own"]
    with ExitStack() as stack:
        stack.enter_context(connections["default"].execute_wrapper(refuse(lambda sql: OURS in sql)))
        stack.enter_context(connections["other"].execute_wrapper(refuse(is_about_others)))
        yield


@pytest.fixture
def lagging(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(connections["other"].settings_dict["TEST"], "MIRROR", "default")
    settings.DATABASE_ROUTERS = [f"{__name__}.Lagging"]
    with connections["other"].execute_wrapper(refuse(lambda sql: True)):
        yield


@pytest.fixture(params=["own", "lagging"])
def databases(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def base_url(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", "boss@shop.example")


@pytest.fixture
def clerk() -> User:
    user = User.objects.create_user("clerk", "clerk@shop.example")
    user.user_permissions.add(Permission.objects.get(codename="add_note"))
    return user


@pytest.mark.usefixtures("databases")
def test_every_page_of_the_admin_answers(client: Client, boss: User) -> None:
    client.force_login(boss)
    answers = {name: client.get(f"/admin/django_workflow/{PAGES[name]()}").status_code for name in PAGES}
    assert {name: status for name, status in answers.items() if status not in (200, 302)} == {}


@pytest.mark.usefixtures("databases")
def test_lists_answer_in_every_order(client: Client, boss: User) -> None:
    client.force_login(boss)
    PAGES["bulk action"]()
    for page in ("bulkaction", "run", "steprun", "workflowversion", "workflow"):
        for column in range(1, 10):
            assert client.get(f"/admin/django_workflow/{page}/?o={column}").status_code == 200


@pytest.mark.usefixtures("databases")
def test_a_run_started_in_the_admin_is_shown_at_once(client: Client, boss: User) -> None:
    client.force_login(boss)
    steps = [{"type": "tests.echo", "with": {"value": "{{ order.number }}"}}]
    workflow = define("flow", steps=steps, input={"order": "testapp.Order"})
    given = {"data.order": Order.objects.create(number="7").pk, "key": "a"}
    address = f"/admin/django_workflow/workflow/{workflow.pk}/trigger/"
    answer = client.post(address, given, follow=True)
    run = Run.objects.get()
    assert (run.output, run.triggered_by) == ("7", boss)
    assert b"boss" in answer.content


@pytest.mark.usefixtures("databases")
def test_users_subjects_and_keys_are_found(boss: User) -> None:
    order = Order.objects.create(number="7", customer=Customer.objects.create(name="Ada"))
    steps = [{"name": "name", "type": "tests.echo", "with": {"value": "{{ order.customer.name }}"}}]
    define("flow", steps=steps, input={"order": "testapp.Order"})
    for given in (order.pk, order):
        run = trigger("flow", {"order": given}, subject=order, user=boss)
        again = Run.objects.get(pk=run.pk)
        assert run.input == {"order": {"$model": "testapp.order", "pk": order.pk}}
        assert (run.status, run.output, run.output_of("name")) == ("done", "Ada", "Ada")
        assert (again.subject, again.triggered_by, run.subject) == (order, boss, order)
    assert [each.triggered_by for each in Run.objects.prefetch_related("triggered_by")] == [boss, boss]


@pytest.mark.usefixtures("databases")
def test_an_approval_is_asked_by_mail_and_answered(boss: User, clerk: User) -> None:
    define("flow", steps=[ASK])
    run = trigger("flow", user=boss)
    assert {letter.to[0] for letter in mail.outbox} == {"clerk@shop.example"}
    path = str(mail.outbox[0].body).partition("https://shop.example")[2].split()[0]
    assert b"clerk" in Client().get(path).content
    assert list(StepRun.objects.approvable_by(clerk)) == [run.step_runs.get()]
    assert approve(run, "ask", by=clerk).status == "done"


@pytest.mark.usefixtures("databases")
def test_commands_show_what_was_just_written(boss: User, capsys: Any) -> None:
    define("flow", steps=[{"name": "one", "type": "tests.fail"}])
    run = trigger("flow", user=boss)
    retry_run(run, by=boss, note="again")
    call_command("show_run", str(run.pk))
    shown = capsys.readouterr().out
    assert "boss" in shown
    assert "retry by boss: again" in shown
    call_command("workflow_runs", "retry", str(run.pk), "--by", "boss", "--yes")


@pytest.mark.usefixtures("databases")
def test_a_deleted_user_is_forgotten(boss: User, clerk: User) -> None:
    define("flow", steps=[ASK])
    run = trigger("flow", user=boss)
    approve(run, "ask", by=clerk)
    cancelled = trigger("flow", user=clerk)
    cancel_run(cancelled, by=boss)
    User.objects.all().delete()
    assert Run.objects.filter(triggered_by__isnull=True).count() == 2
    assert RunAction.objects.filter(by__isnull=True).count() == 2
    assert Answer.objects.get().by is None


@pytest.mark.usefixtures("databases")
def test_a_user_is_deleted_in_the_admin(client: Client, boss: User, clerk: User) -> None:
    client.force_login(boss)
    define("flow", steps=[{"type": "tests.note"}])
    trigger("flow", user=clerk)
    address = f"/admin/auth/user/{clerk.pk}/delete/"
    assert client.get(address).status_code == 200
    client.post(address, {"post": "yes"})
    assert list(User.objects.all()) == [boss]
    assert Run.objects.get().triggered_by is None


@pytest.mark.usefixtures("lagging")
def test_a_row_read_from_a_replica_is_read_where_it_is_written() -> None:
    """The handler runs later, maybe elsewhere; the replica may be behind, or gone by then."""
    order = Order.objects.create(number="7")
    order._state.db = "other"  # as a read from the replica leaves it
    run = trigger(define("flow", steps=[{"type": "tests.note"}]), {"order": order})
    assert run.state["order"] == {"$model": "testapp.order", "pk": order.pk}


def test_without_a_router_rows_of_a_run_are_read_beside_it(boss: User) -> None:
    define("flow", steps=[{"type": "tests.note"}], input={"order": "testapp.Order"}, using="other")
    order = Order.objects.using("other").create(number="7")
    run = trigger("flow", {"order": order.pk}, subject=order, user=boss, using="other")
    again = Run.objects.using("other").get(pk=run.pk)
    assert (again.subject, again.triggered_by) == (order, boss)
    assert again.step_runs.get().run == again
