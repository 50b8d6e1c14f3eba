"""Claims that meet locks, slow types, and handlers that were called before."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_workflow import Sleep
from django_workflow.engine import rounds, sharing
from django_workflow.engine.claim import claim_due
from django_workflow.engine.execute import follow, work
from django_workflow.models import Run, StepRun
from tests.support.batches import ready
from tests.support.crashes import take_up
from tests.support.runs import fresh, start, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere a claim waits for the lock")
def test_a_run_that_another_transaction_holds_is_left_and_hides_no_other(
    django_assert_max_num_queries,
) -> None:
    held, free = ready([{"type": "tests.note"}], 2)
    StepRun.objects.filter(run=held).update(due_at=timezone.now() - timedelta(hours=1))
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Run.objects.select_for_update().get(pk=held.pk)
                is_locked.set()
                may_end.wait(60)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    is_locked.wait(60)
    try:
        (claim,) = claim_due("default")
        assert claim.run.pk == free.pk
        with django_assert_max_num_queries(30):
            assert claim_due("default") == []
    finally:
        may_end.set()
        thread.join()
    follow(claim_due("default"))
    assert fresh(held).status == "done"


def test_a_batch_whose_type_turns_out_slow_is_given_back(register, monkeypatch) -> None:
    monkeypatch.setattr(rounds, "LONGEST", 0.0)
    monkeypatch.setattr(rounds, "LONGEST_ON_SQLITE", 0.0)

    @register("tests.work", idempotent=True)
    def work() -> None:
        monkeypatch.setattr(sharing, "FAST", 0.0)

    ready([{"type": "tests.work"}], 6)
    claims = claim_due("default", most=50)
    assert len(claims) == 6
    follow(claims)
    found = sorted((row.status, row.crashes, row.started_at is None) for row in StepRun.objects.all())
    assert found == [("done", 0, False), *[("pending", 0, True)] * 5]


def test_a_second_call_that_had_not_begun_is_not_interrupted(register) -> None:
    @register("tests.nap", rerun_after_crash=False)
    def nap(context) -> Sleep | None:
        Note.objects.create(text=str(context.event and context.event.name))
        return Sleep(timedelta(hours=1)) if context.event is None else None

    run = start([{"name": "nap", "type": "tests.nap"}])
    past = timezone.now() - timedelta(minutes=1)
    StepRun.objects.update(due_at=past)
    assert claim_due("default")
    StepRun.objects.update(due_at=past)
    assert take_up() == 1
    assert (fresh(run).status, step_run(run, "nap").crashes) == ("done", 0)
    assert sorted(Note.objects.values_list("text", flat=True)) == ["None", "timer"]


def test_a_handler_that_closes_its_connection_each_time_fails_in_the_end(register) -> None:
    @register("tests.close")
    def close() -> None:
        connection.close()
        raise OperationalError("of another server, perhaps")

    run = start([{"name": "one", "type": "tests.close"}])
    for _ in range(4):
        work("default")
    row = step_run(run, "one")
    assert (fresh(run).status, row.status, row.attempt, row.crashes) == ("failed", "failed", 1, 0)
