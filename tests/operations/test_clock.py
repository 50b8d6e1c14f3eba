"""The clock: goes on with what is due everywhere, survives what breaks, and stops between two steps."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.utils import timezone

from django_workflow import define, trigger
from django_workflow.engine.programs import get_program
from django_workflow.engine.tick import clock_aliases, tick
from django_workflow.models import Run, WorkflowVersion
from django_workflow.status import StepStatus

from .conftest import Manage

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NAP = {"name": "nap", "type": "flow.sleep", "with": {"for": "3d"}}


def napping(using: str = "default", **fields: Any) -> Run:
    """Return a run that sleeps, and then has one more step."""
    define(
        "nap",
        steps=[NAP, {"name": "after", "type": "tests.echo", "with": {"value": 7}}],
        using=using,
        **fields,
    )
    return trigger("nap", using=using)


def wake(run: Run) -> None:
    past = timezone.now() - timedelta(minutes=1)
    run.step_runs.live().update(due_at=past)


def fresh(run: Run) -> Run:
    run.refresh_from_db(using=run._state.db)
    return run


def test_a_tick_goes_on_with_what_is_due_on_every_database(manage: Manage) -> None:
    runs = [napping("default"), napping("other")]
    for run in runs:
        wake(run)
    assert manage("workflow_clock", "--once").code == 0
    assert [(fresh(run).status, run.output) for run in runs] == [("done", 7)] * 2


def test_a_tick_leaves_what_is_not_due(manage: Manage) -> None:
    run = napping()
    manage("workflow_clock", "--once")
    assert fresh(run).status == "waiting"


def test_a_tick_ends_runs_that_are_overdue(manage: Manage) -> None:
    run = napping(timeout="1h")
    Run.objects.update(deadline=timezone.now() - timedelta(minutes=1))
    manage("workflow_clock", "--once")
    assert (fresh(run).status, run.error_type.rpartition(".")[2]) == ("failed", "RunTimeout")


def test_a_run_that_a_handler_triggers_begins_after_the_handler(register: Callable[..., Any]) -> None:
    seen: list[str] = []

    def parent() -> None:
        child = trigger("nested-child")
        seen.append(fresh(child).status)

    register("tests.parent")(parent)
    define("nested-child", steps=[{"type": "tests.echo"}])
    define("nested-parent", steps=[NAP, {"type": "tests.parent"}])
    run = trigger("nested-parent")
    wake(run)
    tick("default", is_stopping=lambda: False)
    assert seen == ["pending"]
    assert set(Run.objects.values_list("status", flat=True)) == {"done"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_finish_and_begins_no_other(
    manage: Manage, register: Callable[..., Any], number: int
) -> None:
    def stopped() -> str:
        os.kill(os.getpid(), number)
        return "finished"

    register("tests.stopped")(stopped)
    define(
        "stopped",
        steps=[NAP, {"name": "one", "type": "tests.stopped"}, {"name": "two", "type": "tests.echo"}],
    )
    run = trigger("stopped")
    wake(run)
    before = signal.getsignal(number)
    assert manage("workflow_clock").code == 0
    assert run.step_runs.latest_for("one").output == "finished"
    assert run.step_runs.latest_for("two").status == StepStatus.PENDING
    assert signal.getsignal(number) is before
    manage("workflow_clock", "--once")
    assert fresh(run).status == "done"


def test_a_second_signal_gives_the_step_back(manage: Manage, register: Callable[..., Any]) -> None:
    tries: list[int] = []

    def stubborn() -> None:
        tries.append(1)
        if len(tries) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    register("tests.stubborn")(stubborn)
    define("stubborn", steps=[NAP, {"name": "one", "type": "tests.stubborn"}])
    run = trigger("stubborn")
    wake(run)
    assert manage("workflow_clock").code == 130
    (row,) = run.step_runs.filter(step="one")
    assert (row.status, row.crashes) == (StepStatus.PENDING, 0)


def test_one_database_that_is_down_does_not_stop_the_others(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = napping("other")
    wake(run)
    connections["default"].close()
    with monkeypatch.context() as broken:
        broken.setitem(connections["default"].settings_dict, "NAME", "/nowhere/at/all")
        with caplog.at_level(logging.ERROR, "django_workflow"):
            done = manage("workflow_clock", "--once")
    assert done.code == 1
    assert "could not tick database 'default'" in caplog.text
    assert fresh(run).status == "done"


def test_what_cannot_be_claimed_does_not_stop_the_clock(
    manage: Manage, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = napping("default"), napping("other")
    WorkflowVersion.objects.filter(pk=broken.version_id).update(spec={"format": 1, "name": "nap", "steps": 7})
    get_program.cache_clear()
    for run in (broken, sound):
        wake(run)
    manage("workflow_clock", "--once")
    assert "looked at again in a minute" in caplog.text
    assert (fresh(broken).status, fresh(sound).status) == ("waiting", "done")


def test_a_slice_that_is_over_leaves_the_rest_to_the_next_tick() -> None:
    run = napping()
    wake(run)
    assert tick("default", is_stopping=lambda: False, seconds=0) == 0
    assert tick("default", is_stopping=lambda: False) == 1
    assert fresh(run).status == "done"


@pytest.mark.parametrize("allowed", ["default", "other"])
def test_only_databases_that_the_router_allows_are_ticked(settings: Any, allowed: str) -> None:
    settings.DATABASE_ROUTERS = [Only(allowed)]
    assert clock_aliases() == [allowed]


def test_a_replica_is_not_ticked(monkeypatch: pytest.MonkeyPatch) -> None:
    test = connections["other"].settings_dict["TEST"]
    monkeypatch.setitem(test, "MIRROR", "default")
    assert clock_aliases() == ["default"]


class Only:
    def __init__(self, alias: str) -> None:
        self.alias = alias

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == self.alias


@pytest.mark.parametrize("interval", ["0", "soon", "2h"])
def test_an_interval_that_makes_no_sense_is_bad_usage(manage: Manage, interval: str) -> None:
    assert manage("workflow_clock", "--interval", interval).err.startswith("Error: argument --interval: ")


def test_a_clock_process_stops_with_0_when_it_is_told_to() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": django_settings.SETTINGS_MODULE}
    command = [sys.executable, "-m", "django", "workflow_clock", "--interval", "60"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert "ticks every 60 s" in process.stdout.readline()
            process.terminate()
            assert process.wait() == 0
        finally:
            watchdog.cancel()
