"""``workflow_health``: what it sees, what it calls a problem, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import rq
from django.contrib.auth.models import Group, User
from django.db import connections
from django.utils import timezone

from django_workflow import define, trigger
from django_workflow.engine import clocks
from django_workflow.engine.health import examine
from django_workflow.management.commands import trigger_workflow
from django_workflow.management.following import Follower
from django_workflow.models import Clock, Run, StepRun
from tests.servers.redis_server import redis_server
from tests.support.missing import skip_where_missing

from .conftest import Manage

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
ALIASES = ["default", "other"]
QUEUED = {"QUEUE": "default"}


@pytest.fixture(autouse=True)
def socket(settings: Any) -> Path:
    """Let the queues be in a Redis of these tests' own, which is down; return its socket."""
    path: Path = settings.FILES.with_name(f"{settings.FILES.name}-health.sock")
    settings.RQ_QUEUES = {
        name: {"UNIX_SOCKET_PATH": str(path), "DB": 0} for name in ("default", "slow", "other")
    }
    return path


@pytest.fixture
def redis(socket: Path) -> Iterator[None]:
    with skip_where_missing(), redis_server(socket):
        yield


@pytest.fixture
def clock() -> None:
    """Let a clock tick on every database."""
    for alias in ALIASES:
        clocks.beat(alias)


def listen(*queues: str) -> None:
    """Register a worker as RQ does when it comes up."""
    import django_rq

    made = [django_rq.get_queue(name) for name in queues]
    rq.SimpleWorker(made, connection=made[0].connection).register_birth()


def sleeping(*, due: timedelta, **fields: Any) -> Run:
    """Return a run that sleeps until ``due`` from now."""
    define("nap", steps=[{"name": "nap", "type": "flow.sleep", "with": {"for": "3d"}}])
    run = trigger("nap")
    run.step_runs.update(due_at=timezone.now() + due, **fields)
    return run


def problems() -> str:
    return "\n".join(examine(ALIASES).problems)


def test_an_inline_project_in_which_nothing_waits_needs_neither_redis_nor_clock(manage: Manage) -> None:
    done = manage("workflow_health")
    assert (done.code, done.err) == (0, "")
    assert "inline" in done.out
    assert "All is well." in done.out


def test_an_inline_project_needs_a_clock_when_something_waits(manage: Manage) -> None:
    sleeping(due=timedelta(days=1))
    done = manage("workflow_health")
    assert done.code == 1
    assert done.err == "Database 'default': no clock ticks. Start `manage.py workflow_clock`.\n"


def test_a_clock_that_died_is_no_clock(clock: None, manage: Manage) -> None:
    sleeping(due=timedelta(days=1))
    assert manage("workflow_health").code == 0
    Clock.objects.update(ticked_at=timezone.now() - timedelta(minutes=1))
    assert manage("workflow_health").code == 1


def test_redis_that_does_not_answer_is_said_within_seconds(
    clock: None, manage: Manage, settings: Any
) -> None:
    settings.DJANGO_WORKFLOW = QUEUED
    done = manage("workflow_health")
    assert done.code == 1
    assert done.err.startswith("Queue 'default': Redis does not answer: ")


def test_a_queue_that_is_not_configured_is_said(clock: None, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": "nowhere"}
    assert "Queue 'nowhere': it is not in RQ_QUEUES." in problems()


def test_workers_are_demanded_of_each_queue_that_is_used(
    clock: None, redis: None, settings: Any, manage: Manage
) -> None:
    sleeping(due=timedelta(days=1), queue="slow")
    settings.DJANGO_WORKFLOW = QUEUED
    listen("default")
    assert problems() == "Queue 'slow': no worker listens. Start `manage.py rqworker slow`."
    listen("slow", "other")
    assert manage("workflow_health").code == 0
    assert [facts.name for facts in examine(ALIASES).queues] == ["default", "slow"]


def test_queues_need_a_clock_on_every_database(redis: None, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = QUEUED
    listen("default")
    clocks.beat("default")
    assert problems() == "Database 'other': no clock ticks. Start `manage.py workflow_clock`."


@pytest.mark.parametrize(("ago", "is_late"), [(-10, False), (30, False), (93, True)])
def test_a_step_that_is_ready_for_long_is_a_problem(
    clock: None, redis: None, settings: Any, ago: int, is_late: bool
) -> None:
    sleeping(due=timedelta(seconds=-ago), queue="default")
    settings.DJANGO_WORKFLOW = QUEUED
    listen("default")
    health = examine(ALIASES)
    assert bool(health.databases[0].ready) == (ago > 0)
    assert bool(health.problems) == is_late
    if is_late:
        assert "Database 'default', queue 'default': 1 ready, the oldest for 0:01:3" in health.problems[0]


def test_inline_only_the_clock_can_be_late(clock: None) -> None:
    sleeping(due=timedelta(hours=-2, seconds=-4))
    assert "1 ready, the oldest for 2:00:0" in problems()
    assert "workflow_clock" in problems()


def test_a_paused_run_is_not_late(clock: None) -> None:
    run = sleeping(due=timedelta(hours=-2))
    Run.objects.filter(pk=run.pk).update(status="paused")
    assert problems() == ""


@pytest.mark.parametrize(("ago", "is_late"), [(30, False), (90, True)])
def test_leases_that_nobody_takes_up_are_a_problem(
    clock: None, manage: Manage, ago: int, is_late: bool
) -> None:
    run = sleeping(due=timedelta(seconds=-ago))
    run.step_runs.update(status="running", waiting_for="", lease_token=uuid4())
    done = manage("workflow_health")
    assert "1 step of dead workers to be taken up" in done.out
    assert ("leases of 1 steps have expired" in done.err, done.code) == (is_late, int(is_late))


def test_a_run_that_nothing_moves_is_named(clock: None) -> None:
    run = sleeping(due=timedelta(days=1))
    StepRun.objects.update(due_at=None)
    assert f"1 run is moved by nothing, such as {run.pk}." in problems()


def test_a_database_that_is_down_is_said_and_the_others_are_looked_at(
    clock: None, manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["default"].close()
    with monkeypatch.context() as broken:
        broken.setitem(connections["default"].settings_dict, "NAME", "/nowhere/at/all")
        done = manage("workflow_health")
    connections["default"].close()
    assert done.code == 1
    assert "Database 'default' does not answer: " in done.err
    assert "Database other: clocks: " in done.out


def test_approvals_that_nobody_can_answer_are_told_with_the_reason(clock: None, manage: Manage) -> None:
    bosses = Group.objects.create(name="bosses")
    boss = User.objects.create_user("boss")
    for name, who in (("one", {"group": "bosses"}), ("two", {"users": ["boss"]})):
        define(name, steps=[{"name": "ok", "type": "flow.approval", "with": who}])
    first, _second, named = trigger("one"), trigger("one"), trigger("two")
    assert problems() == ""
    Group.objects.filter(pk=bosses.pk).update(name="managers")
    boss.delete()
    assert problems().splitlines() == [
        f"Database 'default': nobody can answer 2 approvals, such as 'ok' of run {first.pk}: there is no "
        "group 'bosses'. Put that right, or skip the steps.",
        f"Database 'default': nobody can answer the approval 'ok' of run {named.pk}: none of the users it "
        "names is there and active. Put that right, or skip the step.",
    ]
    assert manage("workflow_health").code == 1
    assert (
        json.loads(manage("workflow_health", "--json").out)["databases"][0]["unanswerable"][0]["count"] == 2
    )


def test_monitoring_reads_json(clock: None, manage: Manage) -> None:
    sleeping(due=timedelta(hours=-2))
    done = manage("workflow_health", "--json")
    answer = json.loads(done.out)
    assert (done.code, answer["ok"], len(answer["problems"])) == (1, False, 1)
    (ready,) = answer["databases"][0]["ready"]
    assert (ready["queue"], ready["count"], ready["oldest"] // 60) == ("", 1, 120)


class Impatient(Follower):
    """Does not wait: nobody would move the run."""

    def follow(self, run: Run, using: str) -> None:
        return


class Command(trigger_workflow.Command):
    follower = Impatient


def test_waiting_for_a_run_says_who_is_missing(manage: Manage, settings: Any) -> None:
    define("one", steps=[{"type": "flow.set", "with": {"a": 1}}])
    settings.DJANGO_WORKFLOW = QUEUED
    done = manage(Command(), "one", "--wait")
    assert "Queue 'default': Redis does not answer" in done.err
    assert "no clock ticks" in done.err
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    assert "no clock ticks" not in manage(Command(), "one", "--wait").err
