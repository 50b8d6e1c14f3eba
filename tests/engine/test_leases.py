"""Leases: renewed by a thread, noticed when lost, given back behind a slow handler; a worker's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from django_workflow import cancel_run, define, process
from django_workflow.engine import in_touch, leases
from django_workflow.engine.leases import Lease
from django_workflow.engine.turns import renewing, writing
from django_workflow.exceptions import LeaseLost
from django_workflow.models import Run, StepRun
from tests.support.runs import abandon, fresh, in_threads, step_run, waiting_run

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parent.parent.parent
LEASE = {"QUEUE": None, "LEASE": "0.6s"}


@pytest.fixture
def held() -> Iterator[Callable[..., Lease]]:
    """Return what claims the first step of a new run and holds its lease; all are released at the end."""
    with ExitStack() as stack:

        def claim(**fields: Any) -> Lease:
            run = waiting_run([{"type": "tests.note"}])
            until = timezone.now() + timedelta(seconds=60)
            row = abandon(run, "first", due_at=until, lease_until=until)
            lease = make_lease(row, **fields)
            leases.hold(lease)
            stack.callback(leases.release, lease)
            return lease

        yield claim


def make_lease(row: StepRun, **fields: Any) -> Lease:
    assert row.lease_token is not None
    values = {"queue": row.queue, "renewed": time.monotonic(), **fields}
    return Lease(using="default", run_id=row.run_id, step_run_id=row.pk, token=row.lease_token, **values)


def row_of(lease: Lease) -> StepRun:
    return StepRun.objects.get(pk=lease.step_run_id)


def lose(lease: Lease) -> None:
    StepRun.objects.filter(pk=lease.step_run_id).update(lease_token=uuid4())


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until, "it does not come true"
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    "fields", [{"is_lost": True}, {"is_given_back": True}, {"renewed": time.monotonic() - 61}]
)
def test_no_handler_begins_under_a_lease_that_may_be_another_workers(held, fields) -> None:
    lease = held(**fields)
    with pytest.raises(LeaseLost):
        lease.begin(None)
    assert not lease.is_running


def test_a_lease_is_running_from_begin_to_end(held) -> None:
    lease = held(renewed=time.monotonic() - 59)
    lease.begin(5.0)
    assert (lease.is_running, lease.limit) == (True, 5.0)
    lease.end()
    assert not lease.is_running
    lease.begin(None)
    assert lease.is_running
    lease.take_back()
    assert (lease.begun, lease.is_running) == (None, False)


def test_demanding_a_lease_renews_it_and_looks_at_the_run(held) -> None:
    lease = held()
    before = row_of(lease)
    lease.demand()
    row = row_of(lease)
    assert row.lease_until == row.due_at > before.lease_until
    assert not lease.is_cancelled()
    cancel_run(Run.objects.get())
    lease.demand()
    assert lease.is_cancelled()


def test_demanding_a_lost_lease_says_so(held) -> None:
    lease = held()
    lose(lease)
    with pytest.raises(LeaseLost):
        lease.demand()
    assert lease.is_cancelled()


def test_in_a_transaction_a_demand_looks_and_leaves_the_row_unlocked(held) -> None:
    lease = held()
    before = row_of(lease)
    with transaction.atomic():
        lease.demand()
    assert row_of(lease).lease_until == before.lease_until
    lose(lease)
    with pytest.raises(LeaseLost), transaction.atomic():
        lease.demand()


def test_what_is_held_is_renewed_until_it_is_released(held, settings) -> None:
    settings.DJANGO_WORKFLOW = LEASE
    lease = held()
    before = row_of(lease).lease_until
    wait_until(lambda: row_of(lease).lease_until not in (before, None))
    renewed = row_of(lease).lease_until
    wait_until(lambda: row_of(lease).lease_until > renewed)
    leases.release(lease)
    wait_until(lambda: row_of(lease).lease_until < timezone.now())


def test_the_thread_tells_the_handler_that_its_run_is_ending(held, settings) -> None:
    settings.DJANGO_WORKFLOW = LEASE
    lease = held()
    cancel_run(Run.objects.get())
    wait_until(lease.is_cancelled)
    assert not lease.is_lost


def test_rows_that_share_a_token_are_renewed_each_for_itself(held, settings) -> None:
    settings.DJANGO_WORKFLOW = LEASE
    first, second = held(), held()
    second.token = first.token
    StepRun.objects.filter(pk=second.step_run_id).update(lease_token=first.token)
    other = abandon(waiting_run([{"type": "tests.note"}]), "first", lease_token=first.token)
    lose(second)
    wait_until(lambda: second.is_lost)
    assert not first.is_lost
    assert StepRun.objects.get(pk=other.pk).lease_until == other.lease_until


def test_an_outage_loses_no_lease_and_is_logged_once(held, settings, monkeypatch, caplog) -> None:
    settings.DJANGO_WORKFLOW = LEASE
    lease = held()
    before = row_of(lease).lease_until
    with monkeypatch.context() as broken:
        broken.setitem(connections["default"].settings_dict, "NAME", "/nowhere/at/all")
        wait_until(lambda: "could not be renewed" in caplog.text)
        last = time.monotonic()
        wait_until(lambda: time.monotonic() > last + 0.3)
    wait_until(lambda: row_of(lease).lease_until != before)
    assert not lease.is_lost
    assert caplog.text.count("could not be renewed") == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere a renewal waits for the lock")
def test_a_row_that_is_being_written_is_renewed_later_and_holds_up_no_other(held, settings) -> None:
    settings.DJANGO_WORKFLOW = LEASE
    busy, free = held(), held()
    until = [row_of(busy).lease_until, row_of(free).lease_until]
    with transaction.atomic():
        StepRun.objects.filter(pk=busy.step_run_id).update(worker="locked")
        wait_until(lambda: row_of(free).lease_until != until[1])
        assert not busy.is_lost
    wait_until(lambda: row_of(busy).lease_until != until[0])


def test_what_waits_behind_a_slow_handler_is_given_back(held, monkeypatch) -> None:
    monkeypatch.setattr(leases, "SLOW", 0.1)
    running, over, waiting = held(), held(), held()
    over.begin(None)
    over.end()
    running.begin(None)
    wait_until(lambda: row_of(waiting).status == "pending")
    row = row_of(waiting)
    assert (row.lease_token, row.crashes, row.due_at) == (None, 0, row.created_at)
    assert [row_of(each).status for each in (running, over)] == ["running", "running"]
    with pytest.raises(LeaseLost):
        waiting.begin(None)


def test_what_another_thread_has_claimed_is_not_given_back(held, monkeypatch) -> None:
    monkeypatch.setattr(leases, "SLOW", 0.1)
    running, behind = held(), held()
    running.begin(None)
    others = in_threads(held)
    wait_until(lambda: row_of(behind).status == "pending")
    assert not others[0].is_given_back


def test_nothing_is_given_back_while_a_recording_is_under_way(held, monkeypatch) -> None:
    monkeypatch.setattr(leases, "SLOW", 0.1)
    running, behind = held(), held()
    with writing("default"):
        running.begin(None)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 1.2)
        assert not behind.is_given_back
    wait_until(lambda: row_of(behind).status == "pending")


def test_recordings_exclude_a_renewal_and_not_each_other() -> None:
    with writing("default"), writing("default"), renewing("default") as may_write, renewing("other") as other:
        assert (may_write, other) == (False, True)
    with renewing("default") as may_write:
        assert may_write


def test_a_recording_waits_for_a_renewal_but_not_for_long() -> None:
    order = []

    def record() -> None:
        with writing("default"):
            order.append("recorded")

    with renewing("default"):
        thread = threading.Thread(target=record)
        thread.start()
        thread.join(0.05)
        order.append("renewed")
    thread.join(10)
    assert order == ["renewed", "recorded"]
    with renewing("default"):
        record()


def test_holding_a_lease_shows_that_the_database_answers(held, monkeypatch) -> None:
    process.forget()
    monotonic, wall = time.monotonic, time.time
    with leases.without_keeper():
        held()
        assert not in_touch.is_in_touch("default")
        later = in_touch.renewal_interval() + 1
        clock = SimpleNamespace(monotonic=lambda: monotonic() + later, time=lambda: wall() + later)
        monkeypatch.setattr(in_touch, "time", clock)
        held()
        assert in_touch.is_in_touch("default")


STUBBORN = """
import sys, time, django; django.setup()
from django_workflow import step, trigger
from django_workflow.engine import leases
leases.GRACE = 0.2
@step("tests.stubborn", timeout=0.1)
def stubborn():
    until = time.monotonic() + 3
    while time.monotonic() < until:
        try:
            time.sleep(0.1)
        except BaseException:
            pass
"""
FORKED = """
import os, sys, time, uuid, django; django.setup()
from django_workflow.engine import leases
ids = {each: uuid.uuid4() for each in ("run_id", "step_run_id", "token")}
leases.allow_kill()
leases.hold(leases.Lease(using="default", queue="", renewed=time.monotonic(), **ids))
pid = os.fork()
if not pid:
    os._exit(bool(leases._held) or leases._may_kill or leases._thread is not None)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that uses the database of the tests."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("may_kill", [True, False])
def test_only_a_worker_is_killed_when_its_handler_ignores_the_deadline(register, may_kill) -> None:
    register("tests.stubborn", timeout=0.1)(lambda: None)
    define("stubborn", steps=[{"name": "one", "type": "tests.stubborn", "on_error": "continue"}])
    done = run_python(STUBBORN + ("leases.allow_kill()\n" if may_kill else "") + "trigger('stubborn')")
    run = fresh(Run.objects.get())
    if may_kill:
        assert done.returncode == -signal.SIGKILL
        assert "past its timeout" in done.stderr
        assert step_run(run, "one").status == "running"
    else:
        assert (done.returncode, run.status) == (0, "done"), done.stderr
        assert step_run(run, "one").error_type.endswith("StepTimeout")


def test_a_forked_process_holds_nothing_of_its_parents() -> None:
    done = run_python(FORKED)
    assert done.returncode == 0, done.stderr
