"""Branches and items that end in the same millisecond in several processes: a join starts once, in time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_workflow.models import Run, StepRun
from tests.support import joining  # noqa: F401 – registers its steps
from tests.support.batches import ready
from tests.testapp.models import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
ROOT = Path(__file__).parent.parent.parent
# 1,000 in the long form.
ENOUGH = 100
RUNS = int(os.environ.get("WORKFLOW_TEST_JOINS", "30"))
# As many as the long form's thousands need to meet; a few are enough for a few.
WORKERS = 8 if RUNS >= ENOUGH else 4
WORK = (
    "import django; django.setup()\n"
    "from tests.support.joining import work_in_processes\n"
    f"work_in_processes({WORKERS}, seconds={60 + RUNS})"
)


def work_in_processes() -> str:
    """Let workers do all runs, and return what they logged."""
    connections.close_all()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WORK]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90 + RUNS, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


LAST = {"name": "last", "type": "joins.last", "with": {"left": "{{ left }}"}}


def join_in_lanes(steps: Sequence[Any], count: int, *, lanes: int) -> list[Run]:
    """Let workers do so many runs, of which so many are open at a time, and return them."""
    runs = ready(steps, lanes)
    Run.objects.update(state={"left": count // lanes - 1, "values": [1, 2, 3, 4]})
    log = work_in_processes()
    assert "deadlock" not in log
    assert "locked" not in log
    assert len(runs) == lanes
    assert Run.objects.count() == count // lanes * lanes
    return list(Run.objects.all())


def tree(branches: int, **fields: Any) -> list[dict[str, Any]]:
    """Return a definition of so many branches and their join, and a step behind it."""
    names = [f"b{place}" for place in range(branches)]
    outputs = [f"{{{{ steps.{name} }}}}" for name in names]
    join = {"type": "joins.join", "needs": names, "with": {"outputs": outputs}, **fields}
    return [
        *({"name": name, "type": "joins.branch", "needs": []} for name in names),
        {"name": "join", **join},
        LAST,
    ]


def demand_each_step_once(runs: Sequence[Run], names: Sequence[str], *, items: Sequence[str] = ()) -> None:
    """Demand that each run is done, and each step and each of four items was called and recorded once."""
    keys = [run.pk for run in runs]
    assert Counter(Run.objects.filter(pk__in=keys).values_list("status", "error")) == {
        ("done", ""): len(runs)
    }
    rows = StepRun.objects.filter(run__in=keys)
    found = Counter(rows.values_list("run", "step", "index", "status", "attempt", "crashes"))
    places = [(name, -1) for name in [*names, *items]] + [
        (name, index) for name in items for index in range(4)
    ]
    assert found == {(key, name, index, "done", 1, 0): 1 for key in keys for name, index in places}
    calls = {f"{key} {name}" for key in keys for name in names}
    calls |= {f"{key} {name} {index}" for key in keys for name in items for index in range(4)}
    assert Counter(Note.objects.values_list("text", flat=True)) == dict.fromkeys(calls, 1)


def demand_coincidence(runs: Sequence[Run], **of: Any) -> None:
    """Demand that in many runs the last two of these steps had both ended before either was recorded."""
    count = 0
    for run in runs:
        *_, one, other = StepRun.objects.filter(run=run, **of).order_by("number")
        assert one.finished_at
        count += max(one.output, other.output) < one.finished_at.timestamp()
    sys.stdout.write(f"the last two met in {count} of {len(runs)} runs\n")
    # Among a few runs on a busy machine it may be that none did.
    assert count > len(runs) // 20 or len(runs) < ENOUGH, "they did not meet"


@pytest.mark.parametrize("branches", [2, pytest.param(3, marks=pytest.mark.sqlite_too), 4])
def test_every_join_of_all_starts_once_when_the_last_branch_has_ended(branches: int) -> None:
    runs = join_in_lanes(tree(branches), RUNS // 3, lanes=max(1, WORKERS // branches))
    names = [f"b{place}" for place in range(branches)]
    demand_each_step_once(runs, [*names, "join", "last"])
    for run in runs:
        assert run.output_of("join") == [run.output_of(name) for name in names], "the join was early"
        assert set(names) <= set(run.state), "a branch was lost"
        numbers = dict(run.step_runs.values_list("step", "number"))
        assert len(set(numbers.values())) == len(numbers)
        assert numbers["join"] > max(numbers[name] for name in names)
    demand_coincidence(runs, step__in=names)


def test_every_join_of_any_starts_once_however_many_branches_end_at_once() -> None:
    runs = join_in_lanes(tree(3, join="any"), RUNS // 3, lanes=WORKERS // 3)
    demand_each_step_once(runs, ["b0", "b1", "b2", "join", "last"])
    demand_coincidence(runs, step__in=["b0", "b1", "b2"])


@pytest.mark.sqlite_too
def test_the_end_of_the_last_two_items_closes_their_step_once() -> None:
    items = {"name": "items", "type": "joins.item", "for_each": "values", "with": {"value": "{{ item }}"}}
    few = {**items, "name": "few", "max_parallel": 2, "needs": []}
    last = {**LAST, "needs": ["items", "few"]}
    runs = join_in_lanes([items, few, last], RUNS // 3, lanes=2)
    demand_each_step_once(runs, ["last"], items=["items", "few"])
    for run in runs:
        for name in ("items", "few"):
            outputs = run.step_runs.filter(step=name, index__gte=0).order_by("index")
            assert run.output_of(name) == list(outputs.values_list("output", flat=True))
    demand_coincidence(runs, index__gte=0)
