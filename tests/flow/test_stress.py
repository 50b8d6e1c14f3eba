"""All verbs at random moments against parallel runs that workers drive: no deadlock, no halt."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from django_workflow import (
    StepContext,
    cancel_run,
    define,
    pause_run,
    process,
    restart_run,
    resume_run,
    retry_run,
    send_event,
    skip_step,
    trigger_many,
    undo_run,
)
from django_workflow.engine.execute import work
from django_workflow.engine.now import database_now, set_clock
from django_workflow.engine.stuck import find_stuck
from django_workflow.engine.tick import tick
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Event, Run, StepRun
from django_workflow.status import FINAL_RUN
from tests.support.runs import in_threads, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
# How many verbs each of the threads tries; more by hand.
VERBS = int(os.environ.get("WORKFLOW_TEST_VERBS", "50"))
SEEDS = int(os.environ.get("WORKFLOW_TEST_SEEDS", "1"))
PEOPLE, WORKERS, RUNS = 3, 3, 12
STEPS = ("first", "b0", "b1", "items", "wait", "call", "join")
UNDO = {"type": "storm.undo"}


@pytest.fixture(autouse=True)
def stormy(register: Callable[..., Any]) -> Iterator[None]:
    """Register steps that fail now and then, and let the time go on afterwards."""

    def act(context: StepContext) -> str:
        context.state[context.step] = context.attempt
        if random.random() < 0.1:
            raise ValueError("broken")
        return context.step

    @register("storm.atomic", atomic=True)
    def act_atomically(context: StepContext) -> str:
        Note.objects.create(text=context.step)
        return act(context)

    register("storm.plain")(act)
    register("storm.idempotent", idempotent=True)(act)
    register("storm.undo", retry=())(lambda: None)
    yield
    set_clock(None)


def define_all() -> None:
    """Define a workflow with everything in it, and the one that it calls."""
    wait = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
    define("child", steps=[{"name": "work", "type": "storm.plain"}, wait])
    after = {"needs": ["first"], "retry": {"attempts": 2, "delay": 0}}
    branches = [
        {"name": "b0", "type": "storm.atomic", "undo": UNDO, **after},
        {"name": "b1", "type": "storm.plain", "undo": UNDO, **after},
        {"name": "items", "type": "storm.idempotent", "for_each": "values", "max_parallel": 2, **after},
        {**wait, "needs": ["first"], "timeout": "1h", "on_error": "continue"},
        {"name": "call", "type": "flow.call", "with": {"workflow": "child"}, **after},
    ]
    needs = [str(each["name"]) for each in branches]
    steps = [
        {"name": "first", "type": "storm.plain", "undo": UNDO},
        *branches,
        {"name": "join", "type": "storm.atomic", "needs": needs},
        {"name": "last", "type": "flow.branch", "with": {"if": "join == 1", "then": "end_of_it"}},
        {"name": "end_of_it", "type": "storm.plain"},
    ]
    define("flow", steps=steps, on_failure="undo", timeout="1d")


def verbs_for(run: Run, drawn: random.Random) -> dict[str, Callable[[Run], object]]:
    """Return what a person might want with the run; now and then what is refused, mostly."""
    step = drawn.choice([*STEPS, "wait", "call", "first:undo", "b0:undo"])
    live: dict[str, Callable[[Run], object]] = {
        "cancel": cancel_run,
        "pause": pause_run,
        "send": partial(send_event, name="go", payload=drawn.random()),
        "skip": partial(skip_step, step=step, output=1),
    }
    over: dict[str, Callable[[Run], object]] = {
        "retry": retry_run,
        "undo": undo_run,
        "restart": restart_run,
        "restart from": partial(restart_run, from_step=drawn.choice(STEPS)),
        "skip": partial(skip_step, step=run.step or step, output=1),
    }
    if drawn.random() < 0.2:
        return live | over | {"resume": resume_run}
    if run.status == "failed":
        return {name: over[name] for name in ("retry", "undo", "skip")}
    if run.status == "paused":
        return {"resume": resume_run, "send": live["send"], "skip": live["skip"]}
    return over if run.is_final else live


def meddle(drawn: random.Random, used: Counter[str]) -> None:
    """Do one verb to one run; rather to one that goes on."""
    runs = list(Run.objects.all())
    going_on = [run for run in runs if not run.is_final or run.status == "failed"]
    run = drawn.choice(going_on if going_on and drawn.random() < 0.8 else runs)
    name, verb = drawn.choice(list(verbs_for(run, drawn).items()))
    with suppress(VerbRefused):
        used[name] += verb(run) is not False


def storm(seed: int) -> Counter[str]:
    """Let workers and people loose on the runs; return which verbs were not refused."""
    used, are_done = Counter[str](), threading.Event()
    left = [PEOPLE]

    def be_a_person(number: int) -> None:
        drawn = random.Random(f"{seed} {number}")
        try:
            for _ in range(VERBS):
                meddle(drawn, used)
        finally:
            left[0] -= 1
            if left[0] == 0:
                are_done.set()

    def be_a_worker() -> None:
        while not are_done.wait(0.01):
            work("default", seconds=1)

    people = [partial(be_a_person, number) for number in range(PEOPLE)]
    in_threads(*[be_a_worker] * WORKERS, *people)
    return used


def settle() -> None:
    """Resume what is paused, send what is waited for, and be a clock until all is over."""
    for _ in range(40):
        set_clock(database_now("default") + timedelta(seconds=5))
        for run in Run.objects.exclude(status__in=FINAL_RUN):
            with suppress(VerbRefused):
                resume_run(run)
            send_event(run, "go")
        process.forget()
        tick("default", is_stopping=lambda: False)
        if not Run.objects.exclude(status__in=FINAL_RUN).exists():
            return


def demand_whole_and_over() -> None:
    """Demand that every run is final and so is all of it, with nothing recorded twice."""
    for run in Run.objects.all():
        rows = list(step_runs(run))
        assert run.status in FINAL_RUN, (run.status, run.ending, describe(rows))
        assert not step_runs(run).live().exists(), describe(rows)
        undone = [row.undoes_id for row in rows if row.undoes_id and row.status in ("done", "skipped")]
        assert len(undone) == len(set(undone)), "undone twice"
    assert find_stuck("default") == []
    taken = Event.objects.exclude(taken_by=None).values_list("taken_by", flat=True)
    assert len(taken) == len(set(taken)), "a step took two events"
    assert not StepRun.objects.filter(crashes__gt=0).exists()


def describe(rows: Sequence[StepRun]) -> str:
    return "; ".join(f"{row} {row.attempt} {row.status} {row.waiting_for} {row.due_at}" for row in rows)


def deadlocks() -> int:
    """Return how many deadlocks the database has ever seen; those that were repeated are among them."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_all_verbs_at_random_moments_leave_no_run_halted(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    define_all()
    trigger_many("flow", [{"values": [1, 2, 3, 4]} for _ in range(RUNS)])
    used = storm(seed)
    settle()
    sys.stdout.write(
        f"{used}; {Counter(Run.objects.values_list('status', flat=True))}; {deadlocks()} deadlocks\n"
    )
    demand_whole_and_over()
    broken = [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in broken] == []
    assert "had come to a halt" not in caplog.text
    assert "database is locked" not in caplog.text
    assert len(used) >= 5, used
