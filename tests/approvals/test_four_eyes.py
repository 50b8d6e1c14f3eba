"""Who asked for what is approved may not approve it: whoever triggered, restarted or changed the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.db import transaction
from django.test import override_settings

from django_workflow import (
    NotAllowed,
    VerbRefused,
    approve,
    cancel_run,
    define,
    restart_run,
    retry_run,
    send_event,
    skip_step,
    trigger,
)
from django_workflow.engine.bulk_verbs import BULK_VERBS
from django_workflow.models import Run, StepRun
from tests.support.runs import fresh

from .conftest import PERMISSION

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., Run]

OK = {"name": "ok", "type": "flow.approval", "with": {"permission": PERMISSION}}
WAIT = {"name": "price", "type": "flow.wait", "with": {"event": "priced"}}
PAY = {"name": "pay", "type": "flow.set", "with": {"paid": "{{ amount }}"}}


@pytest.fixture
def chief() -> User:
    """Return another user who may answer."""
    user = User.objects.create_user("chief", "chief@shop.example")
    user.user_permissions.add(Permission.objects.get(codename="change_order"))
    return User.objects.get(pk=user.pk)


def demand_others(run: Run, *users: User, chief: User) -> None:
    """Assert that ``users`` neither find nor may give the approval, and that ``chief`` may."""
    row = StepRun.objects.get(run=run, waiting_for="approval")
    for user in users:
        assert row not in StepRun.objects.approvable_by(user)
        with pytest.raises(NotAllowed, match="triggered the run or changed what is approved"):
            approve(run, "ok", by=user)
    assert row in StepRun.objects.approvable_by(chief)
    approve(run, "ok", by=chief)
    assert fresh(run).status == "done"


@pytest.mark.parametrize("input", [None, {"amount": 1_000_000}])
def test_who_restarts_a_run_asks_for_it(ask: Ask, boss: User, clerk: User, chief: User, input: Any) -> None:
    define("pay", steps=[OK, PAY])
    old = cancel_run(trigger("pay", {"amount": 10}, user=clerk))
    new = restart_run(old, input=input, by=boss)
    demand_others(new, boss, clerk, chief=chief)


def test_who_restarted_an_earlier_run_of_the_chain_asks_for_all(boss: User, chief: User) -> None:
    define("pay", steps=[OK, PAY])
    old = cancel_run(trigger("pay", {"amount": 10}))
    second = cancel_run(restart_run(old, input={"amount": 1_000_000}, by=boss))
    demand_others(restart_run(second), boss, chief=chief)


def test_who_gives_a_step_its_output_asks_for_what_follows(boss: User, chief: User) -> None:
    define("pay", steps=[WAIT, OK])
    run = trigger("pay")
    skip_step(run, "price", {"amount": 1_000_000}, by=boss)
    demand_others(run, boss, chief=chief)


def test_who_sends_an_event_asks_for_what_follows(boss: User, chief: User) -> None:
    define("pay", steps=[WAIT, OK])
    run = trigger("pay")
    BULK_VERBS["event"].do(run, "default", boss, "", {"name": "priced", "payload": 1_000_000})
    demand_others(run, boss, chief=chief)


def test_who_changes_a_run_that_waits_for_an_answer_may_not_give_it(boss: User, chief: User) -> None:
    define("pay", steps=[{**WAIT, "needs": []}, {**OK, "needs": []}])
    run = trigger("pay")
    skip_step(run, "price", 1_000_000, by=boss)
    demand_others(run, boss, chief=chief)


def test_who_changed_the_caller_asks_for_what_the_called_run_approves(boss: User, chief: User) -> None:
    define("child", steps=[OK])
    call = {"type": "flow.call", "with": {"workflow": "child", "input": {"price": "{{ steps.price }}"}}}
    define("pay", steps=[WAIT, call])
    run = trigger("pay")
    skip_step(run, "price", 1_000_000, by=boss)
    demand_others(Run.objects.get(workflow__name="child"), boss, chief=chief)


def test_a_retry_pause_or_cancel_asks_for_nothing(boss: User) -> None:
    broken = {"name": "broken", "type": "flow.fail", "if": "not mended"}
    define("pay", steps=[broken, OK])
    run = trigger("pay", {"mended": False})
    Run.objects.filter(pk=run.pk).update(state={"mended": True})
    retry_run(run, by=boss)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_an_event_of_the_code_asks_for_nothing(boss: User) -> None:
    define("pay", steps=[WAIT, OK])
    run = trigger("pay")
    send_event(run, "priced", 1)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_allow_self_allows_them_all(boss: User) -> None:
    define("pay", steps=[{**OK, "with": {"permission": PERMISSION, "allow_self": True}}])
    new = restart_run(cancel_run(trigger("pay", user=boss)), by=boss)
    assert StepRun.objects.approvable_by(boss).get().run == new
    approve(new, "ok", by=boss)
    assert fresh(new).status == "done"


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "BASE_URL": "https://shop.example"})
def test_who_restarted_the_run_gets_no_mail(boss: User, chief: User) -> None:
    define("pay", steps=[{**OK, "with": {"permission": PERMISSION, "notify": True}}])
    old = cancel_run(trigger("pay"))
    mail.outbox.clear()
    restart_run(old, by=boss)
    assert [message.to for message in mail.outbox] == [["chief@shop.example"]]


def test_one_who_is_named_and_changed_the_run_cannot_be_asked(boss: User) -> None:
    define("pay", steps=[{**OK, "with": {"users": "boss"}}])
    old = cancel_run(trigger("pay"))
    assert "allow_self" in restart_run(old, by=boss).error


def test_an_answer_of_a_row_from_before_is_judged_by_the_run(boss: User, clerk: User) -> None:
    define("pay", steps=[OK])
    run = trigger("pay", user=clerk)
    row = StepRun.objects.get(run=run)
    awaits = dict(row.awaits or {})
    del awaits["askers"]
    StepRun.objects.filter(pk=row.pk).update(awaits=awaits)
    assert StepRun.objects.approvable_by(boss).get() == row
    with transaction.atomic(), pytest.raises(NotAllowed):
        approve(run, "ok", by=clerk)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_another_input_does_not_pass_for_what_was_approved(boss: User) -> None:
    define("pay", steps=[OK, PAY])
    old = approve(trigger("pay", {"amount": 10}), "ok", by=boss)
    old = fresh(old)
    with pytest.raises(VerbRefused, match="approval 'ok' would not be asked for it; restart from the start"):
        restart_run(old, from_step="pay", input={"amount": 1_000_000})
    assert restart_run(old, from_step="pay", input={"amount": 10}).state["paid"] == 10
    assert restart_run(old, from_step="ok", input={"amount": 1_000_000}).status == "waiting"


def test_another_input_does_not_pass_an_approval_that_was_not_needed_for_the_first(boss: User) -> None:
    define("pay", steps=[{**OK, "if": "amount > 1000"}, PAY])
    old = trigger("pay", {"amount": 10})
    with pytest.raises(VerbRefused, match="'ok' would not be asked"):
        restart_run(old, from_step="pay", input={"amount": 1_000_000})


CALL = {
    "name": "call",
    "type": "flow.call",
    "with": {"workflow": "child", "input": {"amount": "{{ amount }}"}},
}


def test_who_restarts_the_caller_asks_for_what_the_called_run_approves(boss: User, chief: User) -> None:
    define("child", steps=[OK])
    define("middle", steps=[CALL])
    define("pay", steps=[{**CALL, "with": {**CALL["with"], "workflow": "middle"}}, PAY])
    old = cancel_run(trigger("pay", {"amount": 10}))
    restart_run(old, input={"amount": 1_000_000}, by=boss)
    demand_others(Run.objects.get(workflow__name="child", finished_at=None), boss, chief=chief)


@pytest.mark.parametrize("depth", [1, 2])
def test_another_input_does_not_pass_for_what_was_approved_in_a_called_run(boss: User, depth: int) -> None:
    define("child", steps=[OK])
    define("middle", steps=[CALL])
    call = {**CALL, "with": {**CALL["with"], "workflow": "child" if depth == 1 else "middle"}}
    define("pay", steps=[call, PAY])
    old = trigger("pay", {"amount": 10})
    approve(Run.objects.get(workflow__name="child"), "ok", by=boss)
    assert fresh(old).status == "done"
    with pytest.raises(VerbRefused, match="approval 'ok' of the run that 'call' called would not be asked"):
        restart_run(fresh(old), from_step="pay", input={"amount": 1_000_000})
    assert restart_run(fresh(old), from_step="pay", input={"amount": 10}).state["paid"] == 10
