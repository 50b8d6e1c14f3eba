"""Each system check: what it finds, under which id, and with which way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connections

from django_workflow import define, trigger
from django_workflow.engine.publish import hand_to_staff
from django_workflow.models import Workflow, WorkflowVersion

from .conftest import Ship
from .test_sync import BROKEN, HELLO

only_sqlite = pytest.mark.skipif(connections["other"].vendor != "sqlite", reason="about SQLite")
FINE: dict[str, Any] = {
    "QUEUE": None,
    "STEPS_MODULE": "steps",
    "LEASE": "60s",
    "SLICE": 30,
    "TIMEOUT": None,
    "MAX_BYTES": 1000,
    "MAX_VISITS": 10,
    "MAX_CRASHES": 3,
    "HIDDEN_FIELDS": ["iban"],
    "SECRETS": {"key": "value"},
    "BASE_URL": "https://shop.example",
    "KEEP": timedelta(days=1),
    "POLL": 0.5,
    "ASYNC_TOGETHER": 20,
}


def found(id: str, **options: Any) -> list[CheckMessage]:
    # Django 6.1 asks every database unless it is told which.
    messages = run_checks(tags=["django_workflow"], **{"databases": [], **options})
    return [each for each in messages if each.id == f"django_workflow.{id}"]


def one(id: str, **options: Any) -> CheckMessage:
    (message,) = found(id, **options)
    assert message.hint
    return message


def test_the_settings_of_the_documentation_are_fine(settings: Any) -> None:
    settings.DEBUG = True
    settings.DJANGO_WORKFLOW = FINE
    assert run_checks(tags=["django_workflow"], databases=[]) == []


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("MAX_BYTE", "Did you mean 'MAX_BYTES'?"),
        ("lease", "Did you mean 'LEASE'?"),
        ("COLOUR", "Known are ASYNC_TOGETHER, BASE_URL, "),
        (7, "Known are"),
    ],
)
def test_an_unknown_key_is_found_and_a_known_one_suggested(settings: Any, key: Any, hint: str) -> None:
    settings.DJANGO_WORKFLOW = {key: 1}
    message = one("E001")
    assert repr(key) in message.msg
    assert hint in str(message.hint)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("QUEUE", 7),
        ("QUEUE", ""),
        ("STEPS_MODULE", "my steps"),
        ("LEASE", None),
        ("LEASE", "soon"),
        ("LEASE", 0),
        ("SLICE", True),
        ("TIMEOUT", "ten"),
        ("MAX_BYTES", "1 MiB"),
        ("MAX_VISITS", 0),
        ("MAX_CRASHES", True),
        ("HIDDEN_FIELDS", "iban"),
        ("SECRETS", ["key"]),
        ("BASE_URL", None),
        ("KEEP", -1),
        ("POLL", []),
        ("ASYNC_TOGETHER", 0),
        ("ASYNC_TOGETHER", "20"),
    ],
)
def test_a_value_of_a_wrong_kind_is_found(settings: Any, key: str, value: Any) -> None:
    settings.DJANGO_WORKFLOW = FINE | {key: value}
    assert one("E002").msg.startswith(key)


def test_settings_that_are_no_dict_are_found(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = "queue"
    assert "DJANGO_WORKFLOW" in one("E002").msg


def test_a_secret_in_the_wrong_place_is_not_shown(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"SECRETS": "sk_live_1"}
    assert "sk_live_1" not in str(one("E002"))


def test_a_queue_that_rq_does_not_know_is_found(settings: Any, register: Callable[..., Any]) -> None:
    register("tests.slow", queue="slow")(lambda: None)
    settings.RQ_QUEUES = {"default": {}, "slower": {}}
    settings.DJANGO_WORKFLOW = {"QUEUE": "defalt"}
    setting, handler = found("E003")
    assert setting.hint == "Did you mean 'default'?"
    assert (handler.obj, handler.hint) == ("step type tests.slow", "Did you mean 'slower'?")


def test_the_default_queue_is_found_where_rq_has_none_of_that_name(settings: Any) -> None:
    settings.RQ_QUEUES = {"high": {}}
    settings.DJANGO_WORKFLOW = {}
    message = one("E003")
    assert (message.obj, message.hint) == (
        "settings.DJANGO_WORKFLOW['QUEUE']",
        "Add it to RQ_QUEUES, or name one of these: high.",
    )


def test_a_queue_of_a_file_that_rq_does_not_know_is_found(settings: Any, ship: Ship) -> None:
    settings.RQ_QUEUES = {"default": {}, "slow": {}}
    settings.DJANGO_WORKFLOW = {"QUEUE": "default"}
    ship(
        "hello.yaml",
        HELLO + "  - {type: flow.end, queue: slwo}\n  - {type: flow.end, queue: slow}\nqueue: fast\n",
    )
    first, second = found("E003")
    assert {str(each.obj) for each in (first, second)} == {"testapp/workflows/hello.yaml"}
    assert ("'fast'" in first.msg, second.hint) == (True, "Did you mean 'slow'?")


def test_queues_do_not_matter_inline(settings: Any, ship: Ship, register: Callable[..., Any]) -> None:
    register("tests.slow", queue="nowhere")(lambda: None)
    ship("hello.yaml", HELLO + "queue: nowhere\n")
    assert found("E003") == []


@pytest.mark.parametrize(
    ("installed", "queue", "count"), [(False, "default", 1), (True, "default", 0), (False, None, 0)]
)
def test_a_queue_without_a_command_for_its_workers_is_found(
    settings: Any, installed: bool, queue: Any, count: int
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": queue}
    if not installed:
        settings.INSTALLED_APPS = [each for each in settings.INSTALLED_APPS if each != "django_rq"]
    assert len(found("W006")) == count


def test_times_without_zones_are_found(settings: Any) -> None:
    settings.USE_TZ = False
    one("E004")


@pytest.mark.parametrize(
    ("debug", "queue", "count"), [(False, None, 1), (True, None, 0), (False, "default", 0)]
)
def test_running_inline_in_production_is_found(
    settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool, queue: Any, count: int
) -> None:
    # Only a process of tests has one.
    monkeypatch.delattr(mail, "outbox", raising=False)
    settings.DEBUG = debug
    settings.DJANGO_WORKFLOW = {"QUEUE": queue}
    assert len(found("W001")) == count


def test_tests_are_not_told_that_they_run_inline(settings: Any) -> None:
    settings.DEBUG = False
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    assert found("W001") == []


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"transaction_mode": "IMMEDIATE", "timeout": 20}, set()),
        ({"transaction_mode": "immediate", "timeout": 60.0}, set()),
        ({"timeout": 20}, {"W002"}),
        ({"transaction_mode": "DEFERRED", "timeout": 20}, {"W002"}),
        ({"transaction_mode": "IMMEDIATE", "timeout": 19}, {"W003"}),
        ({}, {"W002", "W003"}),
    ],
)
@only_sqlite
def test_sqlite_that_locks_up_is_found(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], ids: set[str]
) -> None:
    monkeypatch.setitem(connections["other"].settings_dict, "OPTIONS", options)
    assert {id for id in ("W002", "W003") if found(id)} == ids
    assert all("'other'" in str(one(id).obj) for id in ids)


@pytest.mark.parametrize(
    ("name", "queue", "count"),
    [
        (":memory:", "default", 1),
        ("file:x?mode=memory", "default", 1),
        (":memory:", None, 0),
        ("db", "default", 0),
    ],
)
@only_sqlite
def test_a_queue_for_a_database_in_memory_is_found(
    monkeypatch: pytest.MonkeyPatch, settings: Any, name: str, queue: Any, count: int
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": queue}
    monkeypatch.setitem(connections["other"].settings_dict, "NAME", name)
    assert len(found("E005")) == count


@pytest.mark.parametrize(("autocommit", "count"), [(False, 1), (True, 0)])
def test_a_database_without_autocommit_is_found(
    monkeypatch: pytest.MonkeyPatch, autocommit: bool, count: int
) -> None:
    monkeypatch.setitem(connections["other"].settings_dict, "AUTOCOMMIT", autocommit)
    assert len(found("E009")) == count


def test_a_handler_that_cannot_be_called_is_found(register: Callable[..., Any]) -> None:
    def mystery(order: Order) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation is nowhere."""

    register("tests.mystery")(mystery)
    message = one("E006")
    assert "test_checks" in message.msg
    assert "mystery" in message.msg
    assert "Order" in message.msg


@pytest.mark.parametrize("text", [BROKEN, "name: [", HELLO + "editable: maybe\n", "[]"])
def test_a_file_that_cannot_be_published_is_found_without_a_database(ship: Ship, text: str) -> None:
    ship("broken.yaml", text)
    assert one("E007").obj == "testapp/workflows/broken.yaml"


def test_every_problem_of_a_file_is_found(ship: Ship) -> None:
    ship("broken.yaml", BROKEN + "  - {type: flow.set, condition: 1, next: nowhere}\n")
    assert len(found("E007")) == 3


def test_files_that_share_a_name_are_found_and_all_named(ship: Ship) -> None:
    ship("a.yaml", HELLO)
    ship("b.json", '{"name": "hello", "steps": [{"type": "flow.end"}]}')
    message = one("E008")
    assert "testapp/workflows/a.yaml, testapp/workflows/b.json" in message.msg


def test_a_warning_of_a_file_is_shown_as_one(ship: Ship) -> None:
    lone = "  - {name: lone, type: tests.echo, needs: jump}\n"
    ship("hello.yaml", HELLO.replace("type: flow.set, with: {greeting: hi}", "type: tests.note") + lone)
    assert "lone" in one("W004").msg
    assert found("E007") == []


@pytest.mark.django_db
def test_a_broken_file_stops_migrate_before_it_writes(ship: Ship) -> None:
    ship("broken.yaml", BROKEN)
    ship("hello.yaml", HELLO)
    with pytest.raises(SystemCheckError, match=r"nobody\.knows"):
        call_command("migrate", verbosity=0, skip_checks=False)
    assert not Workflow.objects.exists()


@pytest.mark.django_db
def test_a_published_version_of_a_type_that_is_gone_is_found(
    register: Callable[..., Any], unregister: Callable[[str], object]
) -> None:
    register("tests.brief")(lambda: None)
    define("hello", steps=[{"type": "tests.brief"}])
    assert found("W005", databases=["default"]) == []
    unregister("tests.brief")
    message = one("W005", databases=["default"])
    assert "Version 1 of workflow 'hello' (published)" in message.msg
    assert "tests.brief" in message.msg


@pytest.mark.django_db
def test_a_version_with_live_runs_whose_params_no_longer_fit_is_found(
    register: Callable[..., Any], unregister: Callable[[str], object]
) -> None:
    register("tests.brief")(lambda number=1: None)
    define("hello", steps=[{"type": "tests.brief", "delay": "1h", "with": {"number": 1}}])
    trigger("hello")
    define("hello", steps=[{"type": "tests.echo"}])
    unregister("tests.brief")
    register("tests.brief")(lambda: None)
    message = one("W005", databases=["default"])
    assert "(with live runs)" in message.msg
    assert "number" in message.msg


ASKING = {"name": "ask", "type": "flow.approval"}


@pytest.mark.django_db
@pytest.mark.parametrize("notify", [True, "all@shop.example", ["all@shop.example"]])
def test_an_approval_that_sends_links_without_an_address_is_found(settings: Any, notify: Any) -> None:
    define("paid", steps=[{**ASKING, "with": {"users": ["boss"], "notify": notify}}])
    message = one("W007", databases=["default"])
    assert (
        "Version 1 of workflow 'paid' (published) sends links by mail in ask, and BASE_URL is not set"
        in message.msg
    )
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    assert found("W007", databases=["default"]) == []


@pytest.mark.django_db
@pytest.mark.parametrize("notify", [{}, {"notify": False}, {"notify": []}])
def test_an_approval_without_mails_needs_no_address(notify: dict[str, Any]) -> None:
    define("quiet", steps=[{**ASKING, "with": {"users": ["boss"], **notify}}])
    assert found("W007", databases=["default"]) == []


def test_a_file_whose_approval_sends_links_without_an_address_is_warned_of(ship: Ship) -> None:
    step = "  - {type: flow.approval, with: {users: [boss], notify: true}}\n"
    ship("paid.yaml", "name: paid\nsteps:\n" + step)
    assert 'DJANGO_WORKFLOW["BASE_URL"]' in one("W004").msg


@pytest.mark.django_db
def test_versions_that_nothing_runs_are_not_judged(register: Callable[..., Any]) -> None:
    register("tests.brief")(lambda: None)
    workflow = define("hello", steps=[{"type": "tests.brief"}])
    hand_to_staff(workflow, using="default")
    WorkflowVersion.objects.create(workflow=workflow, number=2, spec={"name": "hello", "steps": []})
    assert found("W005", databases=["default"]) == []


@pytest.mark.django_db
def test_versions_cost_nothing_without_a_database(
    register: Callable[..., Any], unregister: Callable[[str], object]
) -> None:
    register("tests.brief")(lambda: None)
    define("hello", steps=[{"type": "tests.brief"}])
    unregister("tests.brief")
    assert found("W005") == []


@pytest.mark.django_db(databases=["default", "other"])
def test_check_has_a_tag_of_our_own(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.DJANGO_WORKFLOW = {"MAX_BYTE": 1}
    with pytest.raises(CommandError, match="E001"):
        call_command("check", tags=["django_workflow"])
