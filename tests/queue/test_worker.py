"""The worker with a clock beside it: the clock lives as long as the worker, and hears of killed processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_workflow import define, trigger
from django_workflow import worker as worker_module
from django_workflow.engine.who import worker_name
from django_workflow.models import Clock, StepRun
from django_workflow.worker import ClockBeside
from tests.crashes.test_killed_workers import let_go, start_holding, wait_for_handler
from tests.servers.redis_server import RedisServer
from tests.support.load import all_ended, start_chains
from tests.support.processes import CLASSES, Process, Processes, wait_until

ROOT = Path(__file__).parent.parent.parent
CLOCK = "workflow_clock"


@pytest.fixture
def worker(processes: Processes) -> Process:
    return processes.worker(kind="ours")


def clocks_of(process: Process) -> list[int]:
    """Return the clocks of its session. They outlive it for a moment."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines() if CLOCK in line]
    return [int(pid) for pid, state, _args in rows if state[0] != "Z" and is_of(int(pid), process.pid)]


def is_of(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


def ticking(count: int = 1) -> bool:
    return Clock.objects.count() == count


@pytest.mark.sqlite_too
def test_it_ticks_a_clock_and_ends_it(worker: Process) -> None:
    wait_until(ticking, what="a clock")
    (clock,) = clocks_of(worker)
    assert Clock.objects.get().name.endswith(f":{clock}")
    assert worker.stop() == 0
    assert clocks_of(worker) == []
    assert not Clock.objects.exists()


def test_a_clock_that_dies_is_started_again(worker: Process) -> None:
    wait_until(ticking, what="a clock")
    (clock,) = clocks_of(worker)
    os.kill(clock, signal.SIGKILL)
    wait_until(lambda: clocks_of(worker) not in ([], [clock]), what="another clock")
    assert "is started again" in worker.output


def test_the_clock_ends_with_a_worker_that_is_killed(worker: Process) -> None:
    wait_until(ticking, what="a clock")
    worker.kill()
    wait_until(lambda: clocks_of(worker) == [], what="the end of the clock")
    assert not Clock.objects.exists()


def test_a_process_that_the_worker_forked_does_not_keep_its_clock(worker: Process, tmp_path: Path) -> None:
    start_holding(tmp_path, "testapp.hold")
    wait_for_handler(tmp_path)
    wait_until(ticking, what="a clock")
    horse = worker.horse()
    worker.kill()
    wait_until(lambda: clocks_of(worker) == [], what="the end of the clock")
    assert is_of(horse, worker.pid)
    let_go(tmp_path)


@pytest.mark.parametrize("options", [(), ("--num-workers", "2")])
def test_burst_works_off_what_waits_and_leaves_nothing_behind(
    processes: Processes, options: tuple[str, ...]
) -> None:
    start_chains(3)
    command = ["rqworker-pool" if options else "rqworker", "default", "--burst", *options]
    process = processes.manage(*command, "--worker-class", "django_workflow.worker.Worker", name="burst")
    wait_until(lambda: process.code is not None, what="the end of the worker")
    assert process.code == 0
    assert all_ended()
    assert clocks_of(process) == []


def test_workers_of_a_pool_have_their_clocks(processes: Processes) -> None:
    options = ["--num-workers", "2", "--worker-class", "django_workflow.worker.Worker"]
    pool = processes.manage("rqworker-pool", "default", *options, name="pool")
    wait_until(lambda: ticking(2), what="two clocks")
    start_chains(3)
    wait_until(all_ended)
    assert pool.stop() == 0
    assert clocks_of(pool) == []


def test_a_timer_goes_off_without_another_clock(worker: Process) -> None:
    define("nap", steps=[{"type": "flow.sleep", "with": {"for": 1}}])
    run = trigger("nap")
    wait_until(all_ended)
    run.refresh_from_db()
    assert run.status == "done"


def test_the_clock_of_a_projects_own_script_is_called_by_it(processes: Processes) -> None:
    script = ROOT / "manage.py"
    worker = processes.run(
        script, "rqworker", "default", "--worker-class", CLASSES["ours"], name="own script"
    )
    wait_until(ticking, what="a clock")
    listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True)
    assert f"{script} workflow_clock" in listed.stdout
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("called", "command"),
    [
        (["/srv/shop/manage.py", "rqworker"], ["/srv/shop/manage.py"]),
        (["./manage.py", "rqworker-pool"], ["manage.py"]),
        (["/lib/django/__main__.py", "rqworker"], ["-P", "-m", "django"]),
        (["/bin/django-admin", "rqworker"], ["-P", "-m", "django"]),
        (["/bin/rq", "worker"], ["-P", "-m", "django"]),
        (["/srv/own.py"], ["-P", "-m", "django"]),
    ],
)
def test_the_clock_is_called_as_the_worker_was(
    monkeypatch: pytest.MonkeyPatch, called: list[str], command: list[str]
) -> None:
    asked: list[list[str]] = []
    start = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        asked.append(command)
        return start([sys.executable, "-c", "input()"], **options)

    monkeypatch.setattr(sys, "argv", called)
    monkeypatch.setattr(subprocess, "Popen", popen)
    clock = ClockBeside()
    clock.start()
    clock.end()
    options = ["--beside-worker", "--skip-checks", "-v", "0"]
    assert asked == [[sys.executable, *command, CLOCK, *options]]


def test_a_clock_that_rings_where_redis_hangs_stops_within_a_moment(
    processes: Processes, redis_server: RedisServer
) -> None:
    clock = processes.clock()
    start_chains(1)
    redis_server.pause()
    StepRun.objects.update(due_at=timezone.now() - timedelta(seconds=5))
    wait_until(lambda: "Redis does not answer" in clock.output, what="an outage")
    assert clock.stop() == 0


def test_a_clock_that_cron_starts_rings_once_and_ends(
    processes: Processes, redis_server: RedisServer
) -> None:
    start_chains(1)
    redis_server.flush()
    StepRun.objects.update(due_at=timezone.now() - timedelta(seconds=5))
    clock = processes.manage("workflow_clock", "--once", name="cron's clock")
    wait_until(lambda: clock.code is not None, what="the end of the clock")
    assert clock.code == 0
    with redis_server.connect() as redis:
        assert redis.llen("rq:queue:default") == 1


def test_a_forked_process_takes_up_what_comes_soon(processes: Processes) -> None:
    worker = processes.worker(kind="forking")
    for _ in range(10):
        start_chains(1)
        wait_until(all_ended)
    wait_until(lambda: "Job OK" in worker.output, what="the end of a job")
    assert worker.output.count("jobs.work('default', 'default') (") <= 5


def test_a_forked_process_has_the_name_that_its_worker_knows() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, worker_name().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() == worker_name(child) != worker_name()
    os.close(reading)
    os.close(writing)


def test_another_machine_with_the_same_host_name_and_process_id_has_another_name() -> None:
    code = f"from django_workflow.engine.who import worker_name; print(worker_name({os.getpid()}))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, other = worker_name(), elsewhere.stdout.strip()
    assert (name.split(":")[0], name.split(":")[-1]) == (other.split(":")[0], other.split(":")[-1])
    assert name != other


# What a worker does to its clock


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started from here on, as they are."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(start(*args, **options))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return found


@pytest.fixture
def beside(started: list[subprocess.Popen[bytes]]) -> Iterator[ClockBeside]:
    clock = ClockBeside()
    clock.start()
    yield clock
    clock.end()


def test_a_clock_that_is_gone_or_does_not_listen_does_not_stop_its_worker(
    beside: ClockBeside, started: list[subprocess.Popen[bytes]]
) -> None:
    (process,) = started
    process.send_signal(signal.SIGSTOP)
    for _ in range(5000):
        beside.tell("died somewhere:1234567890")
    process.kill()
    process.wait()
    beside.tell("died somewhere:1")


def test_a_forked_process_leaves_the_clock_alone(
    beside: ClockBeside, started: list[subprocess.Popen[bytes]]
) -> None:
    (process,) = started
    child = os.fork()
    if not child:
        beside.keep()
        beside.tell("died somewhere:1")
        beside.end()
        os._exit(started != [process])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process.poll() is None


def test_a_clock_that_cannot_live_is_not_started_again_at_once(
    beside: ClockBeside, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = started
    first.kill()
    first.wait()
    beside.keep()
    assert started == [first]
    monkeypatch.setattr(worker_module, "RESTART_EVERY", 0)
    beside.keep()
    assert len(started) == 2
    assert started[1].poll() is None
