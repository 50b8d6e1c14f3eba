"""The test kit with what comes from outside a run: events, people, called workflows, undo, bulk verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from django_workflow import PermanentError, WaitForEvent, define, undo_run
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import read_filters
from django_workflow.test import Kit, workflow_test

pytestmark = pytest.mark.django_db

WAITS = [{"name": "payment", "type": "flow.wait", "timeout": "3d", "with": {"event": "paid"}}]
ASKS = [
    {"name": "approve", "type": "flow.approval", "with": {"permission": "testapp.change_order"}},
    {"name": "ship", "type": "flow.set"},
]
UNDONE = [
    {"name": "charge", "type": "flow.set", "undo": {"type": "flow.set"}},
    {"name": "ship", "type": "flow.set"},
]


@pytest.fixture
def kit() -> Iterator[Kit]:
    with workflow_test() as test:
        yield test


@pytest.fixture
def boss(django_user_model: type[User]) -> User:
    user = django_user_model.objects.create_user("boss")
    user.user_permissions.add(Permission.objects.get(codename="change_order"))
    return user


def test_an_event_is_sent_and_what_follows_is_executed(kit: Kit) -> None:
    define("order", steps=WAITS)
    run = kit.trigger("order", key="1")
    assert run.status == "waiting"
    assert kit.send_event(("order", "1"), "paid", {"amount": 5}, id="a").status == "done"
    assert (run.status, run.output) == ("done", {"event": "paid", "payload": {"amount": 5}})


def test_an_event_that_does_not_come_is_a_timer(kit: Kit) -> None:
    define("order", steps=WAITS)
    run, began = kit.trigger("order"), kit.now
    kit.advance()
    assert (kit.now - began, run.status) == (timedelta(days=3), "failed")
    assert run.error_type.endswith("WaitTimeout")


def test_an_event_without_a_deadline_is_no_timer(kit: Kit) -> None:
    define("order", steps=[{"name": "payment", "type": "flow.wait", "with": {"event": "paid"}}])
    kit.trigger("order")
    with pytest.raises(RuntimeError, match=r"order .*, waiting: payment waiting event"):
        kit.advance()


def test_a_stand_in_waits_for_its_event_once() -> None:
    define("order", steps=[{"name": "charge", "type": "flow.set"}])
    with workflow_test(outputs={"charge": WaitForEvent("paid")}) as test:
        run = test.trigger("order")
        assert run.status == "waiting"
        test.send_event(run, "paid", {"id": "ch_1"})
    assert (run.status, run.output) == ("done", {"id": "ch_1"})


def test_people_approve(kit: Kit, boss: User) -> None:
    define("order", steps=ASKS)
    run = kit.trigger("order")
    assert kit.approve(run, "approve", by=boss, note="fine") is run
    assert (run.status, kit.path(run)) == ("done", ["approve", "ship"])
    assert run.output_of("approve")["note"] == "fine"


def test_people_reject(kit: Kit, boss: User) -> None:
    define("order", steps=ASKS)
    run = kit.trigger("order")
    kit.reject(run, "approve", by=boss, note="too dear")
    assert (run.status, run.error, kit.path(run)) == ("failed", "too dear", [])


def test_an_approval_may_be_stood_in_for() -> None:
    define("order", steps=ASKS)
    with workflow_test(outputs={"approve": {"by": ["boss"]}}) as test:
        run = test.trigger("order")
        assert (run.status, test.path(run)) == ("done", ["approve", "ship"])


def test_a_called_workflow_is_executed_with_its_caller(kit: Kit) -> None:
    define("child", steps=[{"name": "wait", "type": "flow.sleep", "with": {"for": "1d"}}])
    define("parent", steps=[{"name": "call", "type": "flow.call", "with": {"workflow": "child"}}])
    run = kit.trigger("parent")
    assert run.status == "waiting"
    kit.advance()
    assert (run.status, kit.path(run)) == ("done", ["call"])


def test_steps_of_called_workflows_have_stand_ins() -> None:
    define("child", steps=[{"name": "restock", "type": "flow.fail"}])
    define("parent", steps=[{"name": "call", "type": "flow.call", "with": {"workflow": "child"}}])
    with workflow_test(outputs={"restock": 12}) as test:
        assert test.trigger("parent").output == 12


def test_a_path_shows_what_was_undone(kit: Kit) -> None:
    define("order", steps=UNDONE)
    run = kit.trigger("order")
    undo_run(run)
    assert kit.path(run) == ["charge", "ship", "charge:undo"]


def test_an_undo_has_its_stand_in(register: Callable[..., Any]) -> None:
    define("order", steps=UNDONE, on_failure="undo")
    failing = {"ship": PermanentError("no van"), "charge:undo": PermanentError("no bank")}
    with workflow_test(outputs=failing) as test:
        run = test.trigger("order")
        assert (run.status, test.path(run)) == ("failed", ["charge"])
    assert run.step_runs.get(step="charge:undo").error == "no bank"


def test_the_items_of_an_undo_are_shown_once(kit: Kit) -> None:
    each = {"name": "each", "type": "flow.set", "for_each": "values", "undo": {"type": "flow.set"}}
    define("many", steps=[each])
    run = kit.trigger("many", {"values": [1, 2, 3]})
    undo_run(run)
    assert kit.path(run) == ["each", "each:undo"]


def test_a_bulk_verb_is_carried_out(kit: Kit) -> None:
    define("order", steps=WAITS)
    runs = [kit.trigger("order") for _ in range(3)]
    start_bulk("cancel", read_filters({"workflow": "order"}), using="default")
    kit.execute_due()
    assert [run.status for run in runs] == ["cancelled"] * 3
