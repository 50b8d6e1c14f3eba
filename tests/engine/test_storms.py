"""Workers, batches of every kind, handlers that misbehave at random: nothing is stuck or done twice."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_workflow import cancel_run
from django_workflow.engine import sharing
from django_workflow.engine.execute import work
from django_workflow.engine.recover import recover_expired
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, StepRun
from django_workflow.status import FINAL_RUN
from tests.support.batches import ready
from tests.support.crashes import be_in_touch
from tests.support.runs import demand_whole, fresh, in_threads, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
KINDS: dict[str, dict[str, bool]] = {
    "plain": {},
    "idempotent": {"idempotent": True},
    "atomic": {"atomic": True},
}
RETRY = {"attempts": 3, "delay": 0}
SEEDS = int(os.environ.get("WORKFLOW_TEST_SEEDS", "1"))


def key_of(run_id: object, step: str, index: int, attempt: int) -> str:
    return f"{run_id}:{step}:{index}:{attempt}"


@pytest.fixture
def misbehaving(register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what registers a step of each kind; what each call does is drawn from the seed."""
    monkeypatch.setattr(sharing, "UNSHARED", 0.2)

    def prepare(seed: int) -> None:
        drawn = random.Random(seed)

        def act(context: Any) -> str:
            index = -1 if context.index is None else context.index
            key = key_of(context.run_id, context.step, index, context.attempt)
            Note.objects.get_or_create(key=key, defaults={"text": context.step})
            context.state[context.step] = context.attempt
            misbehave(drawn.random(), context)
            return str(context.step)

        for kind, said in KINDS.items():
            register(f"tests.{kind}", **said)(act)

    return prepare


def misbehave(number: float, context: Any) -> None:
    if number < 0.06:
        raise ValueError("broken")
    if number < 0.08:
        threading.Event().wait(0.06)
    elif number < 0.1:
        with suppress(VerbRefused):
            cancel_run(context.run_id)
    elif number < 0.13:
        transaction.on_commit(lambda: None)
    elif number < 0.14:
        Note.objects.create(text="again", key=Note.objects.order_by("pk")[0].key)


def settle(runs: list[Run]) -> None:
    """Do what clocks and workers do until nothing moves."""
    for _ in range(10):
        StepRun.objects.live().filter(due_at__isnull=False).update(due_at=timezone.now())
        be_in_touch()
        recover_expired("default")
        work("default", seconds=20)
        if {fresh(run).status for run in runs} <= FINAL_RUN:
            return


def demand_once(run: Run) -> None:
    """Demand that what ended has a number of its own, and that what a done step wrote is there once."""
    ended = [row for row in step_runs(run).exclude(number=None) if row.status in ("done", "failed")]
    own = [row.number for row in ended if not (row.step == "items" and row.index < 0)]
    assert len(own) == len(set(own)), own
    places = [(row.step, row.visit, row.index, row.attempt) for row in step_runs(run)]
    assert len(places) == len(set(places))
    for row in ended:
        if row.status == "done" and (row.step != "items" or row.index >= 0):
            key = key_of(run.pk, row.step, row.index, row.attempt)
            assert Note.objects.filter(key=key).count() == 1, key


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("kinds", [("idempotent", "atomic"), ("atomic", "plain"), ("plain", "idempotent")])
def test_a_storm_leaves_every_run_whole_and_every_step_recorded_once(misbehaving, seed, kinds) -> None:
    misbehaving(seed)
    one, two = (f"tests.{kind}" for kind in kinds)
    after = {"needs": ["first"], "retry": RETRY}
    chain = [
        {"name": name, "type": type, "retry": RETRY}
        for name, type in zip("abcd", [one, one, two, one], strict=True)
    ]
    tree = [
        {"name": "first", "type": one, "retry": RETRY},
        *({"name": f"branch{place}", "type": type, **after} for place, type in enumerate([one, two, one])),
        {"name": "items", "type": two, "for_each": "values", "max_parallel": 2, **after},
        {"name": "join", "type": one, "needs": ["branch0", "branch1", "branch2", "items"], "retry": RETRY},
    ]
    runs = [*ready(chain, 12, name="chain"), *ready(tree, 4, name="tree")]
    in_threads(*[partial(work, "default", seconds=20)] * 3)
    demand_whole(*runs)
    settle(runs)
    demand_whole(*runs)
    for run in runs:
        seen = fresh(run)
        assert seen.status in FINAL_RUN, (
            seen.status,
            list(step_runs(run).values_list("step", "status", "error")),
        )
        demand_once(run)
    assert set(StepRun.objects.values_list("crashes", flat=True)) == {0}
    assert sum(fresh(run).status == "done" for run in runs) > len(runs) // 3
