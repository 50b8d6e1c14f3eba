"""Runs that nothing moves are found, repaired from their rows, and named where that cannot be."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db.models import F
from django.utils import timezone

from django_workflow import cancel_run, elapsed
from django_workflow.engine import stuck
from django_workflow.engine.execute import work
from django_workflow.engine.stuck import find_stuck, recover_stuck
from django_workflow.models import Run, StepRun
from tests.support.runs import (
    abandon,
    fresh,
    history,
    let_time_pass,
    notes,
    run_in,
    start,
    step_runs,
    waiting_run,
)

pytestmark = pytest.mark.django_db(transaction=True)
NOTES = [{"name": name, "type": "tests.note"} for name in ("one", "two", "three")]


def revive(run: Run, **fields: Any) -> None:
    Run.objects.filter(pk=run.pk).update(
        **{"status": "running", "finished_at": None, "output": None, **fields}
    )


def repair(run: Run) -> Run:
    """Let a clock find and repair the run, and a worker go on with it."""
    assert find_stuck("default") == [run.pk]
    assert recover_stuck("default") == 1
    work("default")
    assert find_stuck("default") == []
    return fresh(run)


@pytest.mark.parametrize("status", ["pending", "waiting", "done", "failed", "cancelled", "paused"])
def test_a_run_in_order_is_left_alone(status) -> None:
    run = run_in(status)
    before = fresh(run).revision
    assert (find_stuck("default"), recover_stuck("default")) == ([], 0)
    assert fresh(run).revision == before


def test_what_runs_and_what_has_expired_is_not_this_ones_business() -> None:
    abandon(waiting_run(NOTES), "one")
    assert recover_stuck("default") == 0


def test_a_step_that_never_became_ready_is_inserted(caplog) -> None:
    run = start(NOTES)
    step_runs(run).filter(step__in=("two", "three")).delete()
    revive(run)
    run = repair(run)
    assert (run.status, history(run)) == ("done", ["one:done", "two:done", "three:done"])
    assert f"{run.pk} of flow had come to a halt: two had not become ready" in caplog.text


def test_a_run_without_any_step_begins_anew() -> None:
    run = waiting_run(NOTES)
    step_runs(run).delete()
    assert repair(run).status == "waiting"
    assert let_time_pass(run).status == "done"


def test_a_run_whose_steps_have_all_ended_becomes_final() -> None:
    run = start([{"name": "one", "type": "tests.echo", "with": {"value": 7}}])
    revive(run)
    run = repair(run)
    assert (run.status, run.output) == ("done", 7)
    assert run.finished_at is not None


def test_a_run_with_a_failed_step_becomes_failed() -> None:
    run = start([{"name": "one", "type": "tests.fail"}])
    revive(run, ending="", error="", error_type="")
    run = repair(run)
    assert (run.status, run.error) == ("failed", "broken")
    assert run.error_type.endswith("ValueError")


@pytest.mark.parametrize("ending", ["cancelled", "failed", "done"])
def test_a_run_that_is_ending_and_of_which_nothing_runs_ends(ending) -> None:
    run = waiting_run(NOTES)
    revive(run, ending=ending)
    run = repair(run)
    assert (run.status, history(run), notes()) == (ending, ["one:cancelled"], [])


def test_a_ready_step_without_a_time_is_given_one() -> None:
    run = waiting_run(NOTES)
    step_runs(run).update(status="pending", waiting_for="", due_at=None)
    assert repair(run).status == "done"


def test_a_timer_without_a_time_is_over() -> None:
    run = waiting_run(NOTES)
    step_runs(run).update(due_at=None)
    assert repair(run).status == "done"


def test_a_paused_run_keeps_what_has_no_time() -> None:
    run = waiting_run(NOTES)
    step_runs(run).update(status="pending", waiting_for="", due_at=None)
    revive(run, status="paused")
    assert recover_stuck("default") == 0
    assert step_runs(run).get().due_at is None


def sleeping_items() -> Run:
    """Return a run of three items, two of which may run at a time: they sleep."""
    step = {"type": "flow.sleep", "for_each": "values", "with": {"for": "1h"}, "max_parallel": 2}
    return start([{"name": "nap", **step}], {"values": [1, 2, 3]})


def test_items_that_wait_for_a_place_that_nobody_holds_are_given_it() -> None:
    run = sleeping_items()
    assert find_stuck("default") == []
    step_runs(run).filter(index__gte=0).update(status="waiting", waiting_for="slot", due_at=None)
    assert find_stuck("default") == [run.pk]
    assert recover_stuck("default") == 1
    assert history(run) == ["nap:waiting", "nap[0]:pending", "nap[1]:pending", "nap[2]:waiting"]
    work("default")
    run = let_time_pass(let_time_pass(run))
    assert run.status == "done"


def test_a_run_that_cannot_be_repaired_is_named(caplog) -> None:
    run = sleeping_items()
    other = waiting_run(NOTES)
    items = step_runs(run).filter(index__gte=0)
    items.update(status="done", waiting_for="", due_at=None, finished_at=timezone.now())
    step_runs(other).update(due_at=None)
    before = fresh(run).revision
    assert recover_stuck("default") == 1
    assert f"Run {run.pk} has come to a halt" in caplog.text
    assert "step nap waits for its items" in caplog.text
    assert fresh(run).revision == before
    assert cancel_run(run).status == "cancelled"


def test_a_step_run_that_is_in_the_way_of_a_repair_is_no_end_of_the_clock(caplog) -> None:
    run = start(NOTES)
    step_runs(run).filter(step="three").update(current=False)
    revive(run)
    assert recover_stuck("default") == 0
    assert f"Run {run.pk} has come to a halt" in caplog.text


def test_one_process_looks_every_five_minutes(monkeypatch) -> None:
    assert recover_stuck("default") == 0
    run = waiting_run(NOTES)
    step_runs(run).update(due_at=None)
    assert recover_stuck("default") == 0
    later = time.monotonic() + 301
    monkeypatch.setattr(elapsed, "time", SimpleNamespace(monotonic=lambda: later))
    assert recover_stuck("default") == 1


def test_what_is_left_of_a_large_batch_is_repaired_at_once_and_nothing_is_tried_twice(monkeypatch) -> None:
    monkeypatch.setattr(stuck, "BATCH", 2)
    runs = [waiting_run(NOTES) for _ in range(3)]
    StepRun.objects.update(due_at=None)
    assert recover_stuck("default") == 2
    StepRun.objects.update(due_at=None)
    assert [recover_stuck("default") for _ in range(2)] == [1, 0]
    assert {fresh(run).revision for run in runs} == {1}


def test_a_run_that_moved_meanwhile_is_left_alone(monkeypatch) -> None:
    run = waiting_run(NOTES)
    step_runs(run).update(due_at=None)

    def find_late(*args: Any, **options: Any) -> list[UUID]:
        found = find_stuck(*args, **options)
        step_runs(run).update(due_at=timezone.now(), status="running", waiting_for="", lease_token=uuid4())
        Run.objects.update(revision=F("revision") + 1)
        assert found == [run.pk]
        return found

    monkeypatch.setattr(stuck, "find_stuck", find_late)
    assert recover_stuck("default") == 0
