"""Several workers at once: each step is done once, nobody starves, and no wake-up is lost."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django_rq
import pytest
from django.conf import settings
from django.db import connections

from django_workflow import trigger
from django_workflow.models import Run, StepRun
from tests.support.load import (
    ATOMIC,
    IDEMPOTENT,
    PLAIN,
    all_ended,
    assert_recorded_once,
    crashes,
    define_chain,
    start_chains,
    start_one,
    wait_for_end,
)
from tests.support.processes import Kind, Processes, wait_until
from tests.testapp.models import Note
from tests.testapp.steps import note_job, repeat_job

# Few enough for the suite; the README says how to try more.
RUNS = int(os.environ.get("WORKFLOW_TEST_RUNS", "300"))
TRIGGERS = int(os.environ.get("WORKFLOW_TEST_TRIGGERS", "60"))


@pytest.mark.parametrize("kind", ["simple", pytest.param("forking", marks=pytest.mark.sqlite_too)])
def test_two_workers_do_each_step_of_many_runs_once(processes: Processes, kind: Kind) -> None:
    start_chains(RUNS, [PLAIN, ATOMIC, IDEMPOTENT])
    processes.worker(kind=kind, is_ready=False)
    processes.worker(kind=kind)
    wait_for_end()
    assert crashes() == 0
    assert assert_recorded_once([PLAIN, ATOMIC, IDEMPOTENT]) == 0
    # No clock rings for the second: the first does, because it leaves ready steps behind.
    assert StepRun.objects.values("worker").distinct().count() > 1


@pytest.mark.parametrize("kind", ["simple", "forking"])
def test_no_trigger_at_a_random_moment_is_missed_without_a_clock(processes: Processes, kind: Kind) -> None:
    processes.worker(kind=kind)
    processes.worker(kind=kind)
    define_chain([PLAIN])
    pause = threading.Event()
    for _ in range(TRIGGERS):
        trigger("chain", {})
        # As long as a worker takes to find nothing and go idle, more or less.
        pause.wait(random.random() * 0.03)
    wait_for_end()
    assert assert_recorded_once([PLAIN]) == 0


def test_triggers_of_several_threads_at_once_are_all_heard(processes: Processes) -> None:
    processes.worker()
    processes.worker()
    define_chain([PLAIN, ATOMIC])

    def trigger_some() -> None:
        try:
            for _ in range(RUNS // 10):
                trigger("chain", {})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(trigger_some) for _ in range(4)]:
            each.result()
    wait_for_end()
    assert Run.objects.count() == RUNS // 10 * 4
    assert assert_recorded_once([PLAIN, ATOMIC]) == 0


@pytest.mark.sqlite_too
@pytest.mark.skipif(settings.VENDOR != "sqlite", reason="locks of its file are SQLite's own")
@pytest.mark.parametrize("kind", ["simple", "ours"])
def test_two_workers_and_a_clock_on_sqlite_never_say_that_the_database_is_locked(
    processes: Processes, kind: Kind
) -> None:
    processes.clock(interval=0.05)
    processes.worker(kind=kind)
    processes.worker(kind=kind)
    define_chain([PLAIN, ATOMIC, IDEMPOTENT, PLAIN])
    for _ in range(RUNS // 3):
        trigger("chain", {})
    wait_for_end()
    assert assert_recorded_once([PLAIN, ATOMIC, IDEMPOTENT, PLAIN]) == 0
    assert "locked" not in processes.output


@pytest.mark.parametrize("kind", ["simple", "forking"])
def test_a_job_of_the_projects_own_does_not_wait_for_all_workflows(processes: Processes, kind: Kind) -> None:
    start_chains(RUNS * 4, [PLAIN] * 6)
    processes.worker(kind=kind)
    wait_until(lambda: StepRun.objects.filter(status="done").exists(), what="a step")
    django_rq.get_queue("default", commit_mode="auto").enqueue(note_job, "own")
    wait_until(lambda: Note.objects.filter(text="own").exists(), what="the project's own job")
    assert not all_ended(), "the load was too small to show anything"


@pytest.mark.parametrize("kind", ["simple", "forking"])
def test_a_workflow_does_not_wait_for_the_projects_own_jobs(
    processes: Processes, tmp_path: Path, kind: Kind
) -> None:
    processes.worker(kind=kind)
    for _ in range(5):
        django_rq.get_queue("default", commit_mode="auto").enqueue(repeat_job, str(tmp_path))
    wait_until(lambda: Note.objects.filter(text="repeated").count() > 5, what="jobs of the project's own")
    start_chains(10, [PLAIN, ATOMIC])
    wait_for_end()
    before = Note.objects.filter(text="repeated").count()
    wait_until(lambda: Note.objects.filter(text="repeated").count() > before, what="the jobs to go on")
    (tmp_path / "stop").touch()


# It must not know the newest step type, so that it loads Django anew.
OF_AN_OLDER_RELEASE = """
import os, sys
os.environ["WORKFLOW_TEST_RELEASE"] = "old"
os.execv(sys.executable, [sys.executable, "-m", "django", *sys.argv[1:]])
"""


def test_a_worker_of_an_older_release_leaves_a_new_step_to_a_newer_one(
    processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "old.py").write_text(OF_AN_OLDER_RELEASE)
    processes.run(tmp_path / "old.py", "workflow_clock", "--interval", "0.3", name="old clock")
    processes.run(tmp_path / "old.py", "rqworker", "default", name="old worker")
    run = start_one({"type": PLAIN}, {"name": "new", "type": "testapp.newest"})
    row = wait_until(lambda: StepRun.objects.filter(step="new", waiting_for="handler").first())
    assert row.crashes == 0
    processes.worker()
    # Offered every minute: let the minute be over, as often as the older one is faster.
    wait_until(lambda: offer_again() or all_ended(), what="the newer worker")
    run.refresh_from_db()
    assert (run.status, run.state["counted"]) == ("done", 2)


def offer_again() -> bool:
    waiting = StepRun.objects.filter(waiting_for="handler")
    waiting.update(due_at=StepRun.objects.values("created_at")[:1])
    return False


def test_each_queue_is_served_by_its_own_worker(processes: Processes) -> None:
    processes.worker("default")
    run = start_one({"type": PLAIN}, {"name": "far", "type": ATOMIC, "queue": "slow"}, {"type": PLAIN})
    wait_until(lambda: StepRun.objects.filter(step="far", status="pending").exists(), what="a step for slow")
    processes.worker("slow")
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.state["counted"]) == ("done", 3)
    workers = dict(StepRun.objects.values_list("step", "worker"))
    assert workers["far"] != workers["testapp_count"] == workers["testapp_count_2"]


def test_one_worker_serves_several_queues(processes: Processes) -> None:
    processes.worker("slow", "default", kind="forking")
    run = start_one({"type": PLAIN}, {"type": PLAIN, "queue": "slow"}, {"type": PLAIN})
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.state["counted"]) == ("done", 3)
