"""Interleavings: workers, verbs and interruptions that meet in the middle of a step."""

from __future__ import annotations

import signal
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from django_workflow import RetryAfter, Sleep, cancel_run, define, retry_run, trigger, trigger_many
from django_workflow.engine.claim import claim_due
from django_workflow.engine.execute import follow, work
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, StepRun, Workflow
from django_workflow.status import FINAL_RUN
from tests.support.runs import (
    demand_whole,
    fresh,
    history,
    in_threads,
    let_time_pass,
    notes,
    silent_commit,
    start,
    step_run,
    waiting_run,
)
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
FIRST = {"name": "first", "type": "tests.note"}
GO_ON = {"on_error": "continue"}


def make_due() -> None:
    StepRun.objects.live().filter(due_at__isnull=False).update(due_at=timezone.now() - timedelta(minutes=1))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="other drivers let no query be interrupted")
@pytest.mark.parametrize("atomic", [False, True])
def test_a_timeout_in_the_middle_of_a_query_ends_the_query_and_is_recorded(register, atomic) -> None:
    @register("tests.query", atomic=atomic, timeout=0.2)
    def query() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    begun = time.monotonic()
    run = start([{"name": "slow", "type": "tests.query", **GO_ON}, {"type": "tests.note"}])
    assert time.monotonic() - begun < 10
    assert step_run(run, "slow").error_type == "django_workflow.exceptions.StepTimeout"
    assert (run.status, notes()) == ("done", ["tests_note"])


def enter_atomic() -> None:
    transaction.atomic().__enter__()


def begin() -> None:
    connection.cursor().execute("BEGIN")


@pytest.mark.parametrize(
    ("leave_open", "atomic"), [(enter_atomic, False), (enter_atomic, True), (begin, False)]
)
def test_a_transaction_that_a_handler_leaves_open_does_not_swallow_the_recording(
    register, leave_open, atomic
) -> None:
    @register("tests.open", atomic=atomic)
    def leave() -> None:
        leave_open()
        Note.objects.create(text="lost")

    run = start([{"name": "open", "type": "tests.open", **GO_ON}, {"type": "tests.note"}])
    assert not connection.in_atomic_block
    [seen] = in_threads(partial(fresh, run))
    assert (seen.status, history(run)) == ("done", ["open:failed", "tests_note:done"])
    assert "left a transaction open" in step_run(run, "open").error
    assert notes() == ["tests_note"]


def test_a_step_given_back_while_its_run_is_ending_is_not_left_in_a_final_run(register) -> None:
    @register("tests.stop")
    def stop(context) -> None:
        cancel_run(context.run_id)
        signal.raise_signal(signal.SIGINT)

    define("flow", steps=[{"name": "stop", "type": "tests.stop"}, {**FIRST, "needs": []}])
    with silent_commit():
        run = trigger("flow")
    claims = [*claim_due("default", run_id=run.pk), *claim_due("default", run_id=run.pk)]
    stopped, other = sorted(claims, key=lambda each: each.step_run.step != "stop")
    with pytest.raises(KeyboardInterrupt):
        follow([stopped])
    follow([other])
    demand_whole(run)
    work("default")
    assert (fresh(run).status, history(run)) == ("cancelled", ["stop:cancelled", "first:done"])


def test_a_recording_behind_the_lock_that_was_undone_sees_what_came_between(register) -> None:
    @register("tests.meet")
    def meet() -> None:
        Run.objects.update(revision=F("revision") + 1)

    done: list[str] = []

    def disturb(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        is_recording = "UPDATE" in sql and "steprun" in sql and '"number"' in sql
        if not done and is_recording and connection.in_atomic_block:
            done.append("undone")
            raise OperationalError("deadlock detected")
        if done == ["undone"] and sql.startswith("SELECT") and "steprun" in sql:
            done.append("cancelled")
            in_threads(lambda: cancel_run(Run.objects.get()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(disturb):
        run = start([{"type": "tests.meet"}, {"type": "tests.note", "needs": [], "delay": "1h"}])
    assert done == ["undone", "cancelled"]
    assert (fresh(run).ending, fresh(run).status) == ("cancelled", "cancelled")


def test_retry_after_keeps_what_woke_the_step(register) -> None:
    seen: list[str | None] = []

    @register("tests.poll")
    def poll(context) -> Sleep | None:
        seen.append(context.event and context.event.name)
        if context.event is None:
            return Sleep(timedelta(hours=1))
        if len(seen) == 2:
            raise RetryAfter(60)
        return None

    run = start([{"type": "tests.poll"}])
    let_time_pass(run)
    assert (let_time_pass(run).status, seen) == ("done", [None, "timer", "timer"])


@pytest.mark.parametrize("verb", [cancel_run, retry_run])
def test_a_verb_on_a_run_that_was_deleted_meanwhile_is_refused(verb) -> None:
    run = waiting_run([FIRST])
    Run.objects.filter(pk=run.pk).delete()
    with pytest.raises(VerbRefused, match="does not exist any more"):
        verb(run)


def test_four_workers_start_every_join_once(register) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()

    @register("tests.count")
    def count(context) -> Any:
        calls[context.run_id, context.step, context.index] += 1
        if context.index is None:
            context.state[context.step] = 1
        return context.item

    branches = [{"name": f"branch{place}", "type": "tests.count", "needs": ["first"]} for place in range(4)]
    join = {"name": "join", "type": "tests.count", "needs": [each["name"] for each in branches]}
    items = {"name": "items", "type": "tests.count", "for_each": "values", "max_parallel": 2}
    define("flow", steps=[{**FIRST, "delay": "1h"}, *branches, join, items])
    runs = trigger_many("flow", [{"values": [1, 2, 3]}] * 20)
    make_due()
    in_threads(*[partial(work, "default")] * 4)
    work("default")
    assert {fresh(run).status for run in runs} == {"done"}
    assert (set(calls.values()), len(calls)) == ({1}, 20 * 8)
    assert all({"branch0", "branch1", "branch2", "branch3", "join"} < set(fresh(run).state) for run in runs)
    assert all(run.output_of("items") == [1, 2, 3] for run in runs)


def test_a_key_triggered_by_many_at_once_makes_one_run() -> None:
    define("flow", steps=[{"type": "tests.echo"}])
    many = partial(trigger_many, "flow", [{}] * 3, keys=["same", "z", "a"])
    runs = in_threads(*[partial(trigger, "flow", key="same")] * 4, *[lambda: many()[0]] * 4)
    assert (len({run.pk for run in runs}), sum(run.was_created for run in runs)) == (1, 1)
    assert Run.objects.count() == 3


def test_a_workflow_defined_by_many_at_once_is_one_of_theirs() -> None:
    def define_one(text: str) -> None:
        define("flow", steps=[{"type": "tests.note", "with": {"text": text}}, {"type": "tests.note"}])

    in_threads(*[partial(define_one, text) for text in "abcabc"])
    workflow = Workflow.objects.get()
    assert workflow.steps.count() == 2
    assert workflow.published == workflow.versions.order_by("-number").first()
    assert workflow.published.spec["steps"][0]["with"] == workflow.steps.first().params


def test_workers_and_verbs_at_once_leave_every_run_whole(register) -> None:
    @register("tests.unsteady")
    def unsteady(context) -> None:
        context.state[context.step] = context.visit
        if (context.run_id.int + context.visit + context.attempt + len(context.step)) % 5 == 0:
            raise ValueError("unsteady")

    step = {"type": "tests.unsteady", "needs": ["first"]}
    steps = [
        {**FIRST, "delay": "1h"},
        {"name": "left", **step, "on_error": "rescue"},
        {"name": "up", **step, "for_each": "values", "on_error": "fail"},
        {"name": "last", **step, "needs": ["left", "up"], "next": "first", "if": "not last"},
        {"name": "rescue", "type": "tests.unsteady", "needs": "jump", "on_error": "left"},
    ]
    define("flow", steps=steps, max_visits=4)
    runs = trigger_many("flow", [{"values": [1, 2], "last": 0}] * 16)
    make_due()

    def disturb(verb: Any, part: list[Run]) -> None:
        for run in part:
            try:
                verb(run)
            except VerbRefused:
                continue

    verbs = [partial(disturb, cancel_run, runs[::4]), partial(disturb, retry_run, runs)]
    in_threads(*[partial(work, "default")] * 3, *verbs)
    demand_whole(*runs)
    for _ in range(20):
        make_due()
        work("default")
    demand_whole(*runs)
    assert {fresh(run).status for run in runs} <= FINAL_RUN


def test_a_step_that_its_version_does_not_have_is_in_nobodys_way(caplog) -> None:
    lost, healthy = waiting_run([FIRST]), waiting_run([FIRST])
    past = timezone.now() - timedelta(minutes=1)
    StepRun.objects.filter(run=lost).update(step="gone", due_at=past - timedelta(minutes=1))
    StepRun.objects.filter(run=healthy).update(due_at=past)
    work("default")
    assert (fresh(lost).status, fresh(healthy).status) == ("pending", "done")
    assert "'gone'" in caplog.text
    assert StepRun.objects.get(run=lost).due_at > timezone.now()
