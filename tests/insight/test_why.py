"""Why a run is not moving, in every way in which one may stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import override_settings
from django.utils import timezone, translation

from django_workflow import cancel_run, define, pause_run, trigger
from django_workflow.insight.facts import read_facts
from django_workflow.insight.why import is_late, why
from django_workflow.models import Clock, Run, StepRun
from tests.support import steps_for_tests  # noqa: F401 – registers them
from tests.support.runs import fresh, start
from tests.support.states import FAIL, SLEEP, hold, run_in

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timedelta(minutes=10)
ASK = {"name": "ask", "type": "flow.approval"}


def told(run: Run) -> str:
    return why(read_facts(fresh(run), timezone.now()))


def make_late(run: Run) -> None:
    """Let what is due have been due for long."""
    past = timezone.now() - LONG_AGO
    run.step_runs.filter(due_at__isnull=False).update(due_at=past)
    run.step_runs.filter(lease_until__isnull=False).update(lease_until=past)


def make_ready(run: Run, **fields: Any) -> None:
    """Let the step that waits be one that may start now."""
    now = timezone.now()
    run.step_runs.filter(status="waiting").update(status="pending", waiting_for="", due_at=now, **fields)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("pending", "“work” waits until"),
        ("running", "“work” has been running on"),
        ("waiting", "“work” waits until"),
        ("paused", "paused by somebody"),
        ("ending", "It is ending as cancelled. The step “work” has been running"),
        ("done", "It was done at"),
        ("failed", "It failed at"),
        ("cancelled", "It was cancelled at"),
        ("undone", "at the step “work”"),
    ],
)
def test_a_run_says_what_it_waits_for(state: str, says: str) -> None:
    assert says in (told(run_in(state)) if state != "paused" else told(pause_run(run_in("waiting"))))


def test_a_step_that_may_start_later_says_when() -> None:
    run = run_in("waiting")
    make_ready(run)
    run.step_runs.filter(status="pending").update(due_at=timezone.now() + LONG_AGO)
    assert "“work” starts at" in told(run)


def test_a_paused_run_says_who_paused_it() -> None:
    boss = User.objects.create_user("boss")
    assert "paused by boss" in told(pause_run(run_in("waiting"), by=boss))


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"type": "flow.wait", "with": {"event": ["paid", "declined"]}}, "the event “paid”, “declined”."),
        ({"type": "flow.wait", "with": {"event": "paid"}, "timeout": "3d"}, "“paid”, until "),
        ({**ASK, "with": {"permission": "testapp.add_note"}}, "with the permission testapp.add_note"),
        ({**ASK, "with": {"group": "bosses"}}, "of the group bosses"),
        ({**ASK, "with": {"users": ["boss"]}}, "a person who is named"),
        ({**FAIL, "retry": {"attempts": 2, "delay": "1h"}}, "failed and is tried again at"),
        ({"type": "flow.call", "with": {"workflow": "called"}}, "the run called that it called"),
    ],
)
def test_a_waiting_step_says_for_what(step: dict[str, Any], says: str) -> None:
    User.objects.create_user("boss").groups.create(name="bosses")
    define("called", steps=[SLEEP])
    run = start([step])
    assert run.status == "waiting", run.error
    assert says in told(run)


def test_a_map_is_told_of_by_its_items() -> None:
    run = start([{**SLEEP, "for_each": "items"}], {"items": [1, 2, 3]})
    assert "“work[0]” waits until" in told(run)
    assert "2 more steps are under way." in told(run)


def test_a_type_that_no_worker_knows(register: Callable[..., Any]) -> None:
    run = start([SLEEP])
    run.step_runs.update(status="waiting", waiting_for="handler")
    assert "No worker knows the type “flow.sleep” of the step “work”" in told(run)


@pytest.mark.parametrize("has_clock", [True, False])
@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("pending", "waits until"),
        ("waiting", "waits until"),
        ("ready", "has been ready since"),
        ("running", "gives no sign of life"),
    ],
)
def test_what_is_late_says_whether_a_clock_ticks(state: str, says: str, has_clock: bool) -> None:
    run = run_in("waiting") if state == "ready" else run_in(state)
    if state == "ready":
        make_ready(run)
    assert not is_late(read_facts(run, timezone.now()))
    make_late(run)
    if has_clock:
        Clock.objects.create(name="clock", started_at=timezone.now(), ticked_at=timezone.now())
    assert says in told(run)
    assert ("no clock ticks: start “manage.py workflow_clock”" in told(run)) != has_clock
    assert is_late(read_facts(fresh(run), timezone.now()))


def test_what_no_worker_has_come_for_names_the_queue() -> None:
    run = run_in("waiting")
    make_ready(run, queue="slow")
    assert "is ready to start" in told(run)
    make_late(run)
    with override_settings(DJANGO_WORKFLOW={"QUEUE": "default"}):
        assert "Look whether a worker listens to the queue “slow”." in told(run)


def test_what_runs_is_told_before_what_waits() -> None:
    run = start([SLEEP, {**SLEEP, "name": "beside", "needs": []}])
    hold(run, "beside")
    assert told(run).startswith("The step “beside” has been running")
    assert "1 more step is under way." in told(run)


def test_a_run_that_nothing_moves_says_so() -> None:
    run = start([SLEEP])
    StepRun.objects.all().delete()
    assert "Nothing moves it" in told(run)


def test_every_way_to_wait_has_a_sentence_in_german_too() -> None:
    with translation.override("de"):
        assert told(cancel_run(trigger(define("flow", steps=[SLEEP]))))


def test_an_approval_of_a_group_that_was_renamed_says_that_nobody_can_answer() -> None:
    bosses = Group.objects.create(name="bosses")
    User.objects.create_user("boss").groups.add(bosses)
    run = start([{**ASK, "with": {"group": "bosses"}}])
    assert told(run).endswith("somebody of the group bosses.")
    Group.objects.filter(pk=bosses.pk).update(name="managers")
    assert told(run).endswith("But nobody can answer: there is no group 'bosses'.")


def test_an_approval_whose_people_are_gone_says_that_nobody_can_answer() -> None:
    boss = User.objects.create_user("boss")
    run = start([{**ASK, "with": {"users": ["boss"]}}])
    assert told(run).endswith("a person who is named.")
    User.objects.filter(pk=boss.pk).update(is_active=False)
    assert told(run).endswith("But nobody can answer: none of the users it names is there and active.")
    content_type = ContentType.objects.get_for_model(User)
    held = Permission.objects.create(codename="approve", name="Approve", content_type=content_type)
    run = start([{**ASK, "with": {"permission": "auth.approve"}}])
    assert told(run).endswith("somebody with the permission auth.approve.")
    held.delete()
    assert told(run).endswith("But nobody can answer: there is no permission 'auth.approve'.")
