"""Recovery: what dead workers held is made ready, by a process that can know that they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_workflow import cancel_run
from django_workflow.engine import in_touch
from django_workflow.engine.execute import work
from django_workflow.engine.give_back import give_back
from django_workflow.engine.recover import recover_expired, recover_worker
from django_workflow.models import Run, StepRun
from tests.servers.redis_server import redis_server
from tests.support.crashes import be_in_touch, crash
from tests.support.missing import skip_where_missing
from tests.support.runs import fresh, history, in_threads, notes, step_run, waiting_run

pytestmark = pytest.mark.django_db(transaction=True)
FIRST = {"name": "first", "type": "tests.note"}


def crashed(**fields: Any) -> tuple[Run, StepRun]:
    run = waiting_run([FIRST])
    return run, crash(run, "first", **fields)


def alive(**fields: Any) -> tuple[Run, StepRun]:
    """Return a run whose step somebody executes right now."""
    return crashed(due_at=timezone.now() + timedelta(seconds=50), **fields)


def test_workers_leave_what_others_have_begun_to_clocks() -> None:
    run, row = crashed()
    assert work("default") == 0
    assert step_run(run, "first").lease_token == row.lease_token


def test_an_expired_step_is_made_ready_and_not_executed() -> None:
    run, _row = crashed()
    be_in_touch()
    assert recover_expired("default") == 1
    row = step_run(run, "first")
    assert (row.status, row.lease_token, row.lease_until, row.crashes) == ("pending", None, None, 1)
    assert row.due_at <= timezone.now()
    assert (fresh(run).status, notes()) == ("running", [])
    assert recover_expired("default") == 0


@pytest.mark.parametrize(
    ("solo", "started", "crashes"), [(True, True, 1), (True, False, 0), (False, True, 0), (False, False, 0)]
)
def test_rule_10_a_crash_counts_only_against_a_step_that_ran_alone(solo, started, crashes) -> None:
    run, _row = crashed(solo=solo, started=started)
    be_in_touch()
    recover_expired("default")
    row = step_run(run, "first")
    assert (row.solo, row.crashes) == (True, crashes)


@pytest.mark.parametrize(("seconds", "crashes"), [(200, 0), (400, 1)])
def test_rule_19_a_crash_does_not_count_when_the_database_was_away_since_the_last_renewal(
    seconds, crashes
) -> None:
    run, _row = crashed()  # renewed 6 minutes ago, for a minute
    be_in_touch(seconds=seconds, follows_outage=True)
    recover_expired("default")
    assert step_run(run, "first").crashes == crashes
    work("default")
    assert fresh(run).status == "done"


@pytest.mark.parametrize("solo", [True, False])
def test_what_must_not_run_twice_is_interrupted_whatever_else_crashed(register, solo) -> None:
    register("tests.once", rerun_after_crash=False)(lambda: None)
    run = waiting_run([{"type": "tests.once"}])
    crash(run, "first", solo=solo)
    be_in_touch(follows_outage=True)
    recover_expired("default")
    work("default")
    assert fresh(run).error_type == "django_workflow.exceptions.Interrupted"


def test_rule_10_of_a_batch_each_is_claimed_alone_from_then_on() -> None:
    token = uuid4()
    rows = [crashed(solo=False, lease_token=token)[1] for _ in range(3)]
    be_in_touch()
    assert recover_expired("default") == 3
    after = StepRun.objects.filter(pk__in=[row.pk for row in rows])
    assert set(after.values_list("status", "solo", "crashes")) == {("pending", True, 0)}
    work("default")
    assert notes() == ["first"] * 3


def test_rule_18_a_process_that_has_just_come_up_lets_the_living_renew_first() -> None:
    crashed()
    assert recover_expired("default") == 0
    be_in_touch(seconds=19)
    assert recover_expired("default") == 0
    be_in_touch(seconds=21)
    assert recover_expired("default") == 1


def test_rule_18_a_database_error_breaks_the_touch(monkeypatch) -> None:
    crashed()
    be_in_touch()
    connections["default"].close()
    with monkeypatch.context() as broken:
        broken.setitem(connections["default"].settings_dict, "NAME", "/nowhere/at/all")
        with pytest.raises(OperationalError):
            recover_expired("default")
    connections["default"].close()
    assert recover_expired("default") == 0


@pytest.mark.parametrize(
    ("noted", "is_in_touch"),
    [
        ([0], False),
        ([0, 10, 19], False),
        ([0, 10, 20], True),
        ([0, 29], True),
        ([0, 31], False),
        ([0, 10, 20, 60], False),
        ([0, 10, 20, 60, 70, 79], False),
        ([0, 10, 20, 60, 70, 80], True),
    ],
)
def test_rule_18_a_gap_begins_anew(monkeypatch, noted, is_in_touch) -> None:
    for moment in noted:
        clock = partial(float, 1000 + moment)
        monkeypatch.setattr(in_touch, "time", SimpleNamespace(monotonic=clock, time=clock))
        in_touch.note("default")
    assert in_touch.is_in_touch("default") == is_in_touch


def test_rule_19_only_what_this_process_saw_is_an_outage() -> None:
    assert in_touch.seconds_since_outage("default") == float("inf")
    in_touch.note("default")
    assert in_touch.seconds_since_outage("default") == float("inf")
    in_touch.lose("default")
    in_touch.note("default")
    assert in_touch.seconds_since_outage("default") < 10


def test_rule_18_with_a_short_lease_a_clock_that_ticks_every_second_is_in_touch(
    settings, monkeypatch
) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "LEASE": "1s"}
    for moment in (0, 1.5):
        clock = partial(float, 1000 + moment)
        monkeypatch.setattr(in_touch, "time", SimpleNamespace(monotonic=clock, time=clock))
        in_touch.note("default")
    assert in_touch.is_in_touch("default")


def test_rule_18_the_setting_says_how_long_that_is(settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "LEASE": "3s"}
    assert in_touch.renewal_interval() == 1
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    assert in_touch.renewal_interval() == 20


def test_a_process_that_ticks_once_waits_that_long_itself() -> None:
    run, _row = crashed()
    waited = []

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        if len(waited) == 10:
            be_in_touch(seconds=sum(waited))
        return False

    assert recover_expired("default", pause=pause) == 1
    assert sum(waited) == pytest.approx(20)
    assert step_run(run, "first").status == "pending"


def test_a_process_that_ticks_once_leaves_what_is_renewed_meanwhile() -> None:
    run, _row = crashed()

    def pause(seconds: float) -> bool:
        be_in_touch()
        StepRun.objects.update(due_at=timezone.now() + timedelta(seconds=60))
        return False

    assert recover_expired("default", pause=pause) == 0
    assert step_run(run, "first").status == "running"


def test_a_process_that_ticks_once_waits_only_for_a_reason_and_until_it_is_stopped() -> None:
    alive()
    assert recover_expired("default", pause=lambda seconds: pytest.fail("nothing has expired")) == 0
    crashed()
    assert recover_expired("default", pause=lambda seconds: True) == 0


def test_the_steps_of_a_worker_that_is_dead_need_not_expire() -> None:
    dead, _row = alive(worker="here:1")
    other, _row = alive(worker="here:12")
    assert recover_worker("default", "here:1") == 1
    assert step_run(dead, "first").status == "pending"
    assert step_run(other, "first").status == "running"


def test_the_last_running_step_of_a_run_that_is_ending_ends_it() -> None:
    run, _row = alive()
    cancel_run(run)
    assert fresh(run).status == "running"
    StepRun.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    be_in_touch()
    assert recover_expired("default") == 1
    assert (fresh(run).status, history(run)) == ("cancelled", ["first:cancelled"])
    assert fresh(run).finished_at is not None
    assert step_run(run, "first").number == fresh(run).revision


def test_a_step_of_a_paused_run_waits_for_its_resume() -> None:
    run, _row = crashed()
    Run.objects.update(status="paused")
    be_in_touch()
    recover_expired("default")
    row = step_run(run, "first")
    assert (row.status, row.due_at, fresh(run).status) == ("pending", None, "paused")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere the lock is waited for")
def test_a_run_that_an_atomic_handler_holds_is_not_waited_for() -> None:
    run, _row = crashed()
    crashed()
    be_in_touch()
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).update(step="locked")
        assert in_threads(lambda: recover_expired("default")) == [1]
    assert recover_expired("default") == 1


@pytest.fixture
def rung(settings: Any) -> Iterator[None]:
    """Let steps be executed over queues, in a Redis of this test's own."""
    socket = settings.FILES.with_name(f"{settings.FILES.name}-recover.sock")
    settings.RQ_QUEUES = {name: {"UNIX_SOCKET_PATH": str(socket), "DB": 0} for name in ("default", "slow")}
    settings.DJANGO_WORKFLOW = {"QUEUE": "default"}
    with skip_where_missing(), redis_server(socket):
        yield


def test_who_makes_a_step_ready_rings(settings, rung) -> None:
    import django_rq

    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    crashed(queue="slow")
    settings.DJANGO_WORKFLOW = {"QUEUE": "default"}
    be_in_touch()
    recover_expired("default")
    assert django_rq.get_queue("slow").count == 1


def test_a_claim_is_given_back_once() -> None:
    run, row = alive()
    assert not give_back("default", run.pk, row.pk, uuid4())
    assert give_back("default", run.pk, row.pk, row.lease_token)
    after = step_run(run, "first")
    assert (after.status, after.lease_token, after.due_at, after.crashes) == (
        "pending",
        None,
        row.created_at,
        0,
    )
    revision = fresh(run).revision
    assert not give_back("default", run.pk, row.pk, row.lease_token)
    assert fresh(run).revision == revision


@pytest.mark.parametrize(("started", "is_ready"), [(True, False), (False, True)])
def test_a_step_that_must_not_run_twice_is_given_back_only_if_it_had_not_begun(
    register, started, is_ready
) -> None:
    register("tests.once", rerun_after_crash=False)(lambda: None)
    run = waiting_run([{"type": "tests.once"}])
    row = crash(run, "first", started=started)
    assert give_back("default", run.pk, row.pk, row.lease_token) == is_ready
    assert step_run(run, "first").status == ("pending" if is_ready else "running")


def test_what_is_given_back_of_a_run_that_is_ending_ends_with_it() -> None:
    run, row = alive()
    cancel_run(run)
    assert not give_back("default", run.pk, row.pk, row.lease_token)
    assert (fresh(run).status, history(run)) == ("cancelled", ["first:cancelled"])
