"""Signals and log lines: after the commit, never for what was rolled back, and harmless."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.test import TestCase

from django_workflow import cancel_run, define, retry_run, trigger
from django_workflow.models import Run
from django_workflow.signals import run_finished, run_started, step_finished
from tests.support.crashes import crash, take_up
from tests.support.runs import fresh, let_time_pass, start, waiting_run
from tests.testapp.models import Order

SIGNALS = {"started": run_started, "step": step_finished, "finished": run_finished}
database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Return what is told, as text: signal, step, its status, and the status of the run in the database."""
    heard: list[str] = []

    def listen(name: str):
        def receive(run, step_run=None, **kwargs) -> None:
            assert not connection.in_atomic_block
            step = "" if step_run is None else f" {step_run} {step_run.status}"
            heard.append(f"{name}{step}, {fresh(run).status}")

        return receive

    receivers = {name: listen(name) for name in SIGNALS}
    for name, receiver in receivers.items():
        SIGNALS[name].connect(receiver)
    yield heard
    for name, receiver in receivers.items():
        SIGNALS[name].disconnect(receiver)


@database
def test_what_happens_is_told_in_order_after_its_commit(told) -> None:
    start([{"name": "one", "type": "tests.echo"}, {"name": "two", "type": "tests.note_atomically"}])
    assert told == ["started, running", "step one done, running", "step two done, done", "finished, done"]


@database
def test_failures_skips_and_attempts_are_told(told) -> None:
    start(
        [
            {
                "name": "one",
                "type": "tests.fail",
                "retry": {"attempts": 2, "delay": 0},
                "on_error": "continue",
            },
            {"name": "two", "type": "tests.echo", "if": "False"},
        ]
    )
    assert told == [
        "started, running",
        "step one failed, running",
        "step one failed, running",
        "step two skipped, done",
        "finished, done",
    ]


@database
def test_a_run_that_waits_is_told_once_of_its_start(told) -> None:
    run = start([{"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}])
    assert told == ["started, running"]
    let_time_pass(run)
    assert told[1:] == ["step nap done, done", "finished, done"]


@database
def test_nothing_is_told_of_a_run_rolled_back(told) -> None:
    define("flow", steps=[{"type": "tests.echo"}])
    with transaction.atomic():
        trigger("flow")
        transaction.set_rollback(True)
    assert told == []


@database
def test_nothing_is_told_of_a_checkpoint_rolled_back(told, register) -> None:
    @register("tests.work", atomic=True)
    def work() -> None:
        Order.objects.create(number="1", customer_id=4711)

    start([{"name": "work", "type": "tests.work"}])
    assert told == ["started, running", "step work failed, failed", "finished, failed"]


@database
def test_a_cancel_is_told_and_not_when_rolled_back(told) -> None:
    run = waiting_run([{"type": "tests.echo"}])
    with transaction.atomic():
        cancel_run(run)
        transaction.set_rollback(True)
    assert told == []
    cancel_run(run)
    assert told[-1] == "finished, cancelled"


@database
def test_a_retry_and_a_recovery_are_told_like_any_run(told) -> None:
    run = start([{"name": "one", "type": "tests.fail"}])
    told.clear()
    retry_run(run)
    assert told == ["step one failed, failed", "finished, failed"]
    run = waiting_run([{"type": "tests.echo"}])
    crash(run, "first", crashes=2)
    told.clear()
    take_up()
    assert told == ["step first failed, failed", "finished, failed"]


@database
def test_a_receiver_that_raises_changes_nothing(told, caplog) -> None:
    def raise_(**kwargs) -> None:
        raise RuntimeError("in a receiver")

    for signal in SIGNALS.values():
        signal.connect(raise_)
    try:
        run = start([{"type": "tests.echo"}, {"type": "tests.note_atomically"}])
    finally:
        for signal in SIGNALS.values():
            signal.disconnect(raise_)
    assert (run.status, len(told)) == ("done", 4)
    assert "in a receiver" in caplog.text


@database
def test_a_receiver_may_trigger_another_run(register) -> None:
    def follow(run, **kwargs) -> None:
        if run.workflow.name == "flow":
            trigger("next", {"after": str(run.pk)})

    define("next", steps=[{"type": "tests.note"}])
    run_finished.connect(follow)
    try:
        start([{"type": "tests.echo"}])
    finally:
        run_finished.disconnect(follow)
    assert Run.objects.get(workflow__name="next").status == "done"


@database
def test_runs_steps_and_failures_are_logged(caplog) -> None:
    caplog.set_level(logging.INFO, logger="django_workflow.runs")
    run = start([{"name": "one", "type": "tests.echo"}, {"name": "two", "type": "tests.fail"}])
    lines = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "django_workflow.runs"
    ]
    assert lines == [
        ("INFO", f"Run {run.pk} of flow started."),
        ("INFO", f"Run {run.pk}: step one is done."),
        ("WARNING", f"Run {run.pk}: step two failed at attempt 1: ValueError: broken"),
        ("ERROR", f"Run {run.pk} of flow failed at step two: ValueError: broken"),
    ]
    assert caplog.records[-1].run == str(run.pk)
    assert caplog.records[-1].workflow == "flow"


class TestInsideATestCase(TestCase):
    def test_receivers_hear_with_the_captured_callbacks(self) -> None:
        heard: list[str] = []

        def hear(run, **kwargs) -> None:
            heard.append(run.status)

        run_finished.connect(hear)
        self.addCleanup(run_finished.disconnect, hear)
        define("flow", steps=[{"type": "tests.echo"}])
        with self.captureOnCommitCallbacks(execute=True):
            trigger("flow")
            assert heard == []
        assert heard == ["done"]
