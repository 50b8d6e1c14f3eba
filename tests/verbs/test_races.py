"""Verbs while workers are in the middle of a run: nothing is lost, doubled or left standing."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from django.db import connection

from django_workflow import cancel_run, pause_run, restart_run, resume_run, retry_run, skip_step
from django_workflow.engine.claim import claim_due
from django_workflow.engine.execute import work
from django_workflow.engine.single import execute
from django_workflow.engine.stuck import find_stuck
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, StepRun
from tests.support.runs import fresh, in_threads, notes, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = [
    {"name": "one", "type": "tests.note", "needs": [], "delay": "1h"},
    {"name": "two", "type": "tests.note", "needs": [], "delay": "1h"},
    {"name": "join", "type": "tests.note", "needs": ["one", "two"]},
]


def _due_run() -> Run:
    """Return a run whose first two steps are due, and nobody has come yet."""
    run = start(STEPS)
    step_runs(run).update(status="pending", waiting_for="", due_at=run.created_at)
    return run


def test_a_step_that_was_claimed_before_the_pause_is_recorded_and_what_follows_is_not_started() -> None:
    run = _due_run()
    (first,) = claim_due("default", run_id=run.pk)
    pause_run(run)
    assert execute(first) is None
    assert (fresh(run).status, len(notes()), work("default")) == ("paused", 1, 0)
    resume_run(run)
    assert (fresh(run).status, sorted(notes())) == ("done", ["join", "one", "two"])


def test_a_step_that_was_claimed_is_not_skipped_and_one_that_was_skipped_is_not_claimed() -> None:
    run = start(STEPS)
    step_runs(run).filter(step="one").update(due_at=run.created_at)
    (claim,) = claim_due("default", run_id=run.pk)
    with pytest.raises(VerbRefused, match="is running"):
        skip_step(run, "one")
    skip_step(run, "two", "given")
    assert claim_due("default", run_id=run.pk) == []
    following = execute(claim)
    assert following is not None
    assert execute(following) is None
    assert (fresh(run).status, notes()) == ("done", ["one", "join"])


def test_of_many_operators_who_restart_one_run_the_last_has_the_key() -> None:
    from_birth = start([{"name": "one", "type": "tests.echo"}])
    Run.objects.update(key="k")
    in_threads(*[lambda: restart_run(from_birth)] * 3)
    assert Run.objects.filter(key="k").count() == 1
    assert Run.objects.filter(restarted_from=from_birth).count() == 3


def test_of_many_operators_who_skip_one_step_one_does() -> None:
    run = start([{"name": "one", "type": "tests.fail"}, {"name": "after", "type": "tests.note"}])
    outcomes: list[str] = []

    def skip() -> None:
        try:
            skip_step(run, "one", 1)
            outcomes.append("done")
        except VerbRefused:
            outcomes.append("refused")

    in_threads(*[skip] * 3)
    assert sorted(outcomes) == ["done", "refused", "refused"]
    assert (fresh(run).status, notes()) == ("done", ["after"])


def test_verbs_at_random_moments_leave_no_run_standing() -> None:
    runs = [_due_run() for _ in range(6)]
    chance = random.Random(7)
    verbs = [pause_run, resume_run, cancel_run, retry_run, lambda run: skip_step(run, "two")]

    def operate() -> None:
        for _ in range(25):
            with suppress(VerbRefused):
                chance.choice(verbs)(chance.choice(runs))

    def drive() -> None:
        for _ in range(25):
            work("default")

    in_threads(operate, operate, drive, drive)
    for run in runs:
        with suppress(VerbRefused):
            resume_run(run)
    work("default")
    assert find_stuck("default") == []
    assert not Run.objects.exclude(status__in=["done", "cancelled"]).exists()
    assert not StepRun.objects.live().exists()
    for run in runs:
        done = list(step_runs(run).filter(status="done").values_list("step", flat=True))
        assert len(done) == len(set(done))


def test_an_atomic_handler_that_skips_a_step_of_its_own_run_is_done_again(register) -> None:
    @register("tests.atomic", atomic=True)
    def handler(context) -> str:
        with suppress(VerbRefused):
            skip_step(context.run_id, "nap", "by a handler")
        return "done"

    nap = {"name": "nap", "type": "flow.sleep", "needs": [], "with": {"for": "1h"}}
    run = start([nap, {"name": "one", "type": "tests.atomic", "needs": []}])
    assert (fresh(run).status, run.output_of("nap")) == ("done", "by a handler")
    assert step_run(run, "one").output == "done"
    assert connection.is_usable()
