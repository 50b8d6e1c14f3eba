"""A database is moved by dumpdata and loaddata: runs go on where ``migrate`` has published the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Max

from django_workflow import approve, define, send_event, trigger
from django_workflow.engine.recover import recover_expired
from django_workflow.engine.sync import sync
from django_workflow.exceptions import OwnershipError
from django_workflow.models import ManagedBy, Run, Step, StepRun, Workflow, WorkflowVersion
from tests.support.crashes import be_in_touch
from tests.support.runs import abandon, fresh, let_time_pass, notes, start
from tests.testapp.models import Customer, Order

from .conftest import Ship

pytestmark = pytest.mark.django_db(transaction=True)

Flags = dict[str, bool]
Move = Callable[..., None]

FILES = {
    "ask": """
      input: {order: testapp.Order}
      steps:
        - {type: flow.approval, with: {users: [boss]}}
        - {type: tests.note, with: {text: "{{ order.number }} by {{ steps.flow_approval.by.0 }}"}}""",
    "call": """
      steps:
        - {name: called, type: flow.call, with: {workflow: wait}}
        - {type: tests.note, with: {text: "called {{ steps.called }}"}}""",
    "each": """
      steps:
        - {name: each, type: flow.call, for_each: names, with: {workflow: wait, key: "{{ item }}"}}
        - {type: tests.note, with: {text: "{{ steps.each.0 }}, {{ steps.each.1 }}"}}""",
    "nap": """
      steps:
        - {type: flow.sleep, with: {for: 1d}}
        - {type: tests.note, with: {text: slept}}""",
    "wait": """
      steps:
        - {type: flow.wait, with: {event: go}}
        - {type: flow.end, with: {output: "{{ steps.flow_wait.payload }}"}}""",
    "work": """
      steps:
        - {type: tests.note, with: {text: worked}, delay: 1h}""",
}
PLAIN: Flags = {}
FOREIGN: Flags = {"use_natural_foreign_keys": True}
NATURAL: Flags = {**FOREIGN, "use_natural_primary_keys": True}


@pytest.fixture
def move(tmp_path: Path) -> Move:
    """Return what dumps the project, empties and migrates the database, and loads the dump there."""

    def move(**flags: bool) -> None:
        dump = tmp_path / "dump.json"
        # Two are filled by migrate, and the model of the third has no table.
        options: dict[str, Any] = {
            "exclude": ["contenttypes", "auth.permission", "django_rq"],
            "output": str(dump),
        }
        call_command("dumpdata", **options, **flags)
        call_command("flush", interactive=False, verbosity=0)  # and what post_migrate does
        call_command("loaddata", str(dump), verbosity=0)

    return move


def ship_all(ship: Ship, files: dict[str, str] | None = None) -> None:
    for name, text in (files or FILES).items():
        ship(f"{name}.yaml", f"name: {name}\n" + "\n".join(line[6:] for line in text.splitlines()[1:]))


def publish_elsewhere(ship: Ship) -> None:
    """Publish as an older database did: in another order and after others, so under other keys."""
    define("gone", steps=[{"type": "tests.note"}] * 3)
    for name in reversed(FILES):
        ship_all(ship, {name: FILES[name]})
        sync("default")
    Workflow.objects.get(name="gone").delete()


@pytest.mark.parametrize("flags", [PLAIN, FOREIGN, NATURAL], ids=["plain", "foreign", "natural"])
def test_runs_in_flight_go_on_in_another_database(ship: Ship, move: Move, flags: Flags) -> None:
    publish_elsewhere(ship)
    # The first key, which it gets again where the dump has no keys of users.
    boss = User.objects.create_user("boss", pk=1)
    order = Order.objects.create(number="A1", customer=Customer.objects.create(name="Ada"))
    runs = {name: trigger(name, user=boss) for name in ("call", "nap", "wait", "work")}
    runs["ask"] = trigger("ask", {"order": order}, subject=order, key="ask")
    runs["each"] = trigger("each", {"names": ["a", "b"]})
    abandon(runs["work"], "tests_note")
    send_event(("wait", "early"), "go", 7)

    move(**flags)

    for run in runs.values():
        assert (fresh(run).status, fresh(run).version_id) == (run.status, run.version_id) or run is runs[
            "work"
        ]
    assert Workflow.objects.count() == len(FILES)
    assert fresh(runs["nap"]).triggered_by == boss
    assert fresh(runs["ask"]).subject == order
    approve(runs["ask"], "flow_approval", by=boss)
    called = StepRun.objects.get(run=runs["call"], step="called").child
    assert called is not None
    send_event(called, "go", 1)
    send_event(("wait", "a"), "go", 2)
    send_event(("wait", "b"), "go", 3)
    send_event(runs["wait"], "go", 4)
    be_in_touch()
    recover_expired("default")
    for name in ("nap", "work"):
        let_time_pass(runs[name])

    assert {name: fresh(run).status for name, run in runs.items()} == dict.fromkeys(runs, "done")
    assert sorted(notes()) == ["2, 3", "A1 by boss", "called 1", "slept", "worked"]
    assert trigger("wait", key="early").output == 7
    assert not trigger("ask", {"order": order}, key="ask").was_created


def test_what_is_published_after_the_move_goes_on_from_the_dump(ship: Ship, move: Move) -> None:
    publish_elsewhere(ship)
    before = set(WorkflowVersion.objects.values_list("pk", "workflow__name", "number"))
    steps = sorted(Step.objects.values_list("workflow__name", "name"))
    move()
    assert set(WorkflowVersion.objects.values_list("pk", "workflow__name", "number")) == before
    assert sorted(Step.objects.values_list("workflow__name", "name")) == steps
    ship_all(ship, {"nap": FILES["nap"].replace("1d", "2d")})
    sync("default")
    published = Workflow.objects.get(name="nap").published
    assert published is not None
    assert published.number == 2


def test_a_file_that_is_newer_than_the_dump_is_published_again(ship: Ship, tmp_path: Path) -> None:
    publish_elsewhere(ship)
    run = trigger("nap")
    dump = tmp_path / "old.json"
    call_command("dumpdata", "django_workflow", output=str(dump))
    ship_all(ship, {"nap": FILES["nap"].replace("1d", "2d").replace("slept", "longer"), "new": FILES["work"]})
    call_command("flush", interactive=False, verbosity=0)
    call_command("loaddata", str(dump), verbosity=0)
    published = Workflow.objects.get(name="nap").published
    assert published is not None
    assert (published.number, published.spec["steps"][0]["with"]) == (2, {"for": "2d"})
    assert let_time_pass(run).version_id == run.version_id
    assert notes() == ["slept"]
    # It was published under a key that the dump has for another.
    assert list(Step.objects.filter(workflow__name="new").values_list("name", flat=True)) == ["tests_note"]
    assert trigger("new").workflow.name == "new"
    define("newest", steps=[{"type": "tests.note"}])  # the next key is free


def test_what_define_publishes_after_each_migrate_is_replaced_too(tmp_path: Path) -> None:
    define("other", steps=[{"type": "tests.note"}])
    run = start([{"type": "flow.sleep", "with": {"for": "1d"}}])
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "django_workflow", output=str(dump))
    call_command("flush", interactive=False, verbosity=0)
    define("flow", steps=[{"type": "tests.note"}, {"type": "flow.end"}])
    define("newer", steps=[{"type": "flow.end"}])
    call_command("loaddata", str(dump), verbosity=0)
    assert sorted(Workflow.objects.values_list("name", "steps__name")) == [
        ("flow", "flow_sleep"),
        ("newer", "flow_end"),
        ("other", "tests_note"),
    ]
    assert let_time_pass(run).status == "done"
    assert trigger("newer").status == "done"


def test_a_dump_is_loaded_twice(ship: Ship, tmp_path: Path) -> None:
    publish_elsewhere(ship)
    run = trigger("nap")
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "django_workflow", output=str(dump))
    for _time in range(2):
        call_command("loaddata", str(dump), verbosity=0)
    assert Run.objects.get() == run
    assert let_time_pass(run).status == "done"


def dump_and_empty(tmp_path: Path) -> str:
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "django_workflow", output=str(dump))
    call_command("flush", interactive=False, verbosity=0)
    return str(dump)


@pytest.mark.parametrize("is_under_another_key", [False, True])
def test_a_workflow_with_runs_of_its_own_is_not_replaced(tmp_path: Path, is_under_another_key: bool) -> None:
    start([{"type": "tests.note"}])
    dump = dump_and_empty(tmp_path)
    if is_under_another_key:
        define("first", steps=[{"type": "flow.end"}])
    run = start([{"type": "flow.end"}])
    with pytest.raises(OwnershipError) as refused:
        call_command("loaddata", dump, verbosity=0)
    for part in ("'flow'", "'default'", "runs", "only been migrated"):
        assert part in str(refused.value)
    assert Run.objects.get() == run
    assert trigger("flow").version_id == run.version_id


def test_a_workflow_that_staff_made_is_not_replaced(tmp_path: Path) -> None:
    start([{"type": "tests.note"}])
    dump = dump_and_empty(tmp_path)
    Workflow.objects.create(name="first")
    made = Workflow.objects.create(name="flow", managed_by=ManagedBy.STAFF)
    with pytest.raises(OwnershipError, match=r"workflow 'flow' .*staff"):
        call_command("loaddata", dump, verbosity=0)
    assert Workflow.objects.get(name="flow") == made


def test_what_has_the_key_of_a_loaded_workflow_gets_another(tmp_path: Path) -> None:
    run = start([{"type": "flow.sleep", "with": {"for": "1d"}}])
    last = Workflow.objects.aggregate(last=Max("pk"))["last"]
    dump = dump_and_empty(tmp_path)
    Workflow.objects.create(pk=last, name="there", managed_by=ManagedBy.CODE)
    define("there", steps=[{"type": "flow.sleep", "with": {"for": "1d"}}, {"type": "tests.note"}])
    waiting = trigger("there")
    call_command("loaddata", dump, verbosity=0)
    assert let_time_pass(run).status == "done"
    assert let_time_pass(waiting).status == "done"
    assert fresh(waiting).workflow.name == "there"
    assert notes() == ["tests_note"]
    assert sorted(Workflow.objects.values_list("name", "steps__name")) == [
        ("flow", "flow_sleep"),
        ("there", "flow_sleep"),
        ("there", "tests_note"),
    ]
