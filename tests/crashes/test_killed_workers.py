"""Processes that are killed, stopped and frozen in the middle: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from django_workflow import define, trigger_many
from django_workflow.models import Clock, Run, StepRun
from tests.support.load import (
    ATOMIC,
    IDEMPOTENT,
    PLAIN,
    ROUNDS,
    all_ended,
    assert_recorded_once,
    crashes,
    recorded,
    start_chains,
    start_one,
    wait_for_end,
)
from tests.support.processes import PATIENCE, Kind, Process, Processes, wait_until
from tests.testapp.models import Note

HOLDING = {
    "plain": "testapp.hold",
    "atomic": "testapp.hold_atomically",
    "idempotent": "testapp.hold_idempotently",
}


def start_holding(folder: Path, type_: str) -> Run:
    """Start a run whose second step waits in its handler until ``let_go``."""
    before, after = {"name": "s0", "type": PLAIN}, {"name": "s2", "type": ATOMIC}
    return start_one(before, {"name": "s1", "type": type_, "with": {"folder": str(folder)}}, after)


def wait_for_handler(folder: Path, *, calls: int = 1) -> None:
    wait_until(lambda: len(list(folder.glob("*.began"))) >= calls, what=f"call {calls} of the handler")


def let_go(folder: Path) -> None:
    (folder / "go").touch()


def wait_until_done(run: Run, seconds: float = PATIENCE) -> Run:
    wait_for_end(seconds)
    run.refresh_from_db()
    assert (run.status, run.error, run.state["counted"]) == ("done", "", 3)
    return run


def notes_of(run: Run, step: str) -> int:
    return Note.objects.filter(text=f"{run.pk} {step}").count()


def crashes_by_step() -> dict[str, int]:
    return dict(StepRun.objects.values_list("step", "crashes"))


@pytest.mark.parametrize(
    ("kind", "hold"),
    [
        ("simple", "plain"),
        pytest.param("simple", "atomic", marks=pytest.mark.sqlite_too),
        ("simple", "idempotent"),
        pytest.param("forking", "plain", marks=pytest.mark.sqlite_too),
        ("ours", "atomic"),
    ],
)
def test_what_ran_in_a_killed_process_is_taken_up_by_another(
    processes: Processes, tmp_path: Path, kind: Kind, hold: str
) -> None:
    processes.clock()
    worker = processes.worker(kind=kind)
    run = start_holding(tmp_path, HOLDING[hold])
    wait_for_handler(tmp_path)
    worker.kill_all()
    processes.worker(kind=kind)
    let_go(tmp_path)
    wait_until_done(run)
    assert crashes_by_step() == {"s0": 0, "s1": 1, "s2": 0}
    assert [notes_of(run, step) for step in ("s0", "s1", "s2")] == [1, 1 if hold == "atomic" else 2, 1]


@pytest.mark.parametrize("kind", ["forking", "ours"])
def test_a_killed_horse_leaves_a_worker_that_goes_on(
    processes: Processes, tmp_path: Path, kind: Kind
) -> None:
    processes.clock()
    worker = processes.worker(kind=kind)
    run = start_holding(tmp_path, HOLDING["plain"])
    wait_for_handler(tmp_path)
    os.kill(worker.horse(), signal.SIGKILL)
    let_go(tmp_path)
    wait_until_done(run)
    assert worker.code is None
    assert crashes_by_step() == {"s0": 0, "s1": 1, "s2": 0}


def test_our_worker_makes_the_step_of_a_killed_horse_ready_long_before_its_lease_expires(
    processes: Processes, tmp_path: Path
) -> None:
    worker = processes.worker(kind="ours", LEASE="10m")
    run = start_holding(tmp_path, HOLDING["plain"])
    wait_for_handler(tmp_path)
    wait_until(Clock.objects.exists, what="the worker's clock")
    os.kill(worker.horse(), signal.SIGKILL)
    let_go(tmp_path)
    wait_until_done(run)
    assert crashes_by_step() == {"s0": 0, "s1": 1, "s2": 0}


def test_a_horse_whose_worker_was_killed_finishes_and_nobody_does_it_again(
    processes: Processes, tmp_path: Path
) -> None:
    processes.clock()
    worker = processes.worker(kind="forking")
    run = start_holding(tmp_path, HOLDING["plain"])
    wait_for_handler(tmp_path)
    worker.kill()
    processes.worker(kind="forking")
    let_go(tmp_path)
    wait_until_done(run)
    assert crashes() == 0
    assert notes_of(run, "s1") == 1


def test_a_step_that_must_not_run_twice_fails_as_interrupted(processes: Processes, tmp_path: Path) -> None:
    processes.clock()
    worker = processes.worker()
    run = start_holding(tmp_path, "testapp.count_once")
    wait_for_handler(tmp_path)
    worker.kill_all()
    processes.worker()
    let_go(tmp_path)
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.Interrupted")
    assert notes_of(run, "s1") == 1


@pytest.mark.parametrize("kind", ["simple", "forking", "ours"])
def test_kill_9_again_and_again_under_load(processes: Processes, kind: Kind) -> None:
    processes.clock()
    workers = [processes.worker(kind=kind), processes.worker(kind=kind)]
    start_chains(60, ms=5)
    kill_under_load(processes, workers)
    assert_recorded_once()


def kill_under_load(processes: Processes, workers: list[Process]) -> None:
    """Kill one worker after another, each when a few steps more are recorded, until all runs have ended."""
    for number in range(5):
        wait_for_steps(10)
        workers[number % len(workers)].kill_all()
        processes.revive()
    wait_for_end()


def wait_for_steps(more: int) -> None:
    goal = recorded() + more
    wait_until(lambda: recorded() >= goal, what=f"{goal} steps")
    assert not all_ended(), "the load was too small to show anything"


def test_only_the_step_that_kills_its_process_is_poison_its_batch_goes_on(
    processes: Processes, tmp_path: Path
) -> None:
    processes.clock()
    worker = processes.worker(kind="ours")
    die = {"name": "s0", "type": "testapp.die", "with": {"folder": str(tmp_path), "times": "{{ times }}"}}
    define("batch", steps=[die, {"name": "s1", "type": IDEMPOTENT}])
    trigger_many("batch", [{"times": 99 if number == 7 else 0} for number in range(20)])
    wait_for_end()
    failed = Run.objects.get(status="failed")
    assert (failed.state["times"], failed.error_type) == (99, "django_workflow.exceptions.Poisoned")
    assert StepRun.objects.get(run=failed, step="s0").crashes == 3
    assert Run.objects.filter(status="done").count() == 19
    assert crashes() == 3
    assert worker.code is None


@pytest.mark.parametrize("kind", ["simple", "forking"])
def test_a_batch_of_20_of_which_one_ran_costs_none_of_them_a_crash(
    processes: Processes, tmp_path: Path, kind: Kind
) -> None:
    processes.clock()
    hold = {"name": "s0", "type": HOLDING["idempotent"], "with": {"folder": "{{ folder }}"}}
    define("chain", steps=[hold, {"name": "s1", "type": ATOMIC}])
    folders = [str(tmp_path) if number == 3 else "" for number in range(20)]
    trigger_many("chain", [{"folder": folder} for folder in folders])
    worker = processes.worker(kind=kind)
    wait_for_handler(tmp_path)
    worker.kill_all()
    let_go(tmp_path)
    processes.worker(kind=kind)
    wait_for_end()
    assert crashes() == 0
    assert_recorded_once([IDEMPOTENT, ATOMIC])


def test_a_killed_clock_is_replaced_by_any_other(processes: Processes) -> None:
    first = processes.clock()
    processes.clock()
    processes.worker()
    run = start_one({"type": "flow.sleep", "with": {"for": "1s"}}, {"type": PLAIN})
    wait_until(lambda: StepRun.objects.filter(waiting_for="timer").exists(), what="a sleeping step")
    first.kill_all()
    wait_for_end()
    run.refresh_from_db()
    assert run.status == "done"


@pytest.mark.parametrize("kind", [pytest.param("simple", marks=pytest.mark.sqlite_too), "forking", "ours"])
def test_sigterm_under_load_is_no_crash(processes: Processes, kind: Kind) -> None:
    processes.clock()
    worker = processes.worker(kind=kind)
    # More than a second's work each time, so that the worker must leave it in the middle.
    start_chains(60 * ROUNDS, ms=5)
    for _ in range(ROUNDS):
        wait_for_steps(10)
        worker.stop()
        assert not all_ended(), "the worker did all before it stopped"
        worker.start_again()
    wait_for_end(PATIENCE + 10 * ROUNDS)
    assert crashes() == 0
    assert assert_recorded_once() == 0


@pytest.mark.parametrize(("kind", "hold"), [("simple", "plain"), ("forking", "idempotent")])
def test_a_process_that_was_frozen_for_longer_than_its_lease_writes_nothing_when_it_thaws(
    processes: Processes, tmp_path: Path, kind: Kind, hold: str
) -> None:
    processes.clock()
    frozen = processes.worker(kind=kind)
    run = start_holding(tmp_path, HOLDING[hold])
    wait_for_handler(tmp_path)
    frozen.send_all(signal.SIGSTOP)
    processes.worker(kind=kind)
    wait_for_handler(tmp_path, calls=2)
    let_go(tmp_path)
    done = wait_until_done(run)
    frozen.send_all(signal.SIGCONT)
    wait_until(lambda: "belongs to another worker" in frozen.output, what="the refused recording")
    assert (Run.objects.get().revision, Run.objects.get().status) == (done.revision, "done")
    assert crashes_by_step() == {"s0": 0, "s1": 1, "s2": 0}
    assert [notes_of(run, step) for step in ("s0", "s1", "s2")] == [1, 2, 1]


@pytest.mark.skipif(settings.VENDOR == "sqlite", reason="a frozen transaction holds the only file")
def test_a_frozen_transaction_keeps_its_run_and_no_other_until_it_thaws(
    processes: Processes, tmp_path: Path
) -> None:
    processes.clock()
    frozen = processes.worker()
    run = start_holding(tmp_path, HOLDING["atomic"])
    wait_for_handler(tmp_path)
    frozen.send_all(signal.SIGSTOP)
    processes.worker()
    row = StepRun.objects.get(run=run, step="s1")
    assert row.lease_until is not None
    wait_until(lambda: timezone.now() > row.lease_until + timedelta(seconds=2), what="a lease long expired")
    start_chains(5)
    wait_until(lambda: Run.objects.filter(status="done").count() == 5, what="the end of the other runs")
    frozen.send_all(signal.SIGCONT)
    let_go(tmp_path)
    wait_until_done(run)
    assert [notes_of(run, step) for step in ("s0", "s1", "s2")] == [1, 1, 1]
