"""Verbs while real workers are in the middle of a step; and kills and flushes in maps of called workflows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from django_workflow import (
    cancel_run,
    define,
    pause_run,
    resume_run,
    send_event,
    skip_step,
    trigger,
    trigger_many,
    undo_run,
)
from django_workflow.models import Run, StepRun
from tests.servers.redis_server import RedisServer
from tests.support import flow_worker
from tests.support.load import ATOMIC, PLAIN, all_ended, start_one, wait_for_end
from tests.support.processes import Process, Processes, wait_until
from tests.testapp.models import Note

HOLD = "testapp.hold"
UNDO = {"type": "kill.take_back", "with": {"output": "{{ output }}"}}
PARENTS = 30
ITEMS = 3


def start_worker(processes: Processes) -> Process:
    """Start a worker that knows the steps of these tests."""
    name = f"{flow_worker.__name__}.Worker"
    worker = processes.manage("rqworker", "default", "--worker-class", name, name="worker")
    wait_until(lambda: "Listening" in worker.output or worker.code is not None, what="a worker")
    return worker


def wait_for_handler(folder: Path) -> None:
    wait_until(lambda: list(folder.glob("*.began")), what="the handler")


def let_go(folder: Path) -> None:
    (folder / "go").touch()


def hold(folder: Path, **fields: Any) -> dict[str, Any]:
    """Return a step that waits in its handler until ``let_go``."""
    return {"name": "held", "type": HOLD, "with": {"folder": str(folder)}, **fields}


def statuses(run: Run) -> dict[str, str]:
    """Return the status of each step of a run."""
    return dict(run.step_runs.filter(index=-1).values_list("step", "status"))


def texts() -> list[str]:
    return sorted(Note.objects.values_list("text", flat=True))


def test_cancel_tells_a_handler_that_runs_and_its_result_is_history(
    processes: Processes, tmp_path: Path
) -> None:
    start_worker(processes)
    held = {"name": "held", "type": "kill.until_cancelled", "with": {"folder": str(tmp_path)}}
    run = start_one(held, {"name": "after", "type": PLAIN}, {"name": "side", "type": PLAIN, "needs": []})
    wait_for_handler(tmp_path)
    cancel_run(run, note="by hand")
    assert Run.objects.get().ending == "cancelled"
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.output_of("held")) == ("cancelled", "told")
    assert "held cancelled: True" in texts()
    assert "after" not in statuses(run)


def test_pause_lets_the_step_be_recorded_and_nothing_follows_until_resume(
    processes: Processes, tmp_path: Path
) -> None:
    processes.clock()
    start_worker(processes)
    run = start_one(hold(tmp_path), {"name": "after", "type": PLAIN}, {"name": "last", "type": ATOMIC})
    wait_for_handler(tmp_path)
    pause_run(run)
    let_go(tmp_path)
    wait_until(lambda: StepRun.objects.filter(step="held", status="done").exists(), what="the recording")
    # Whatever would start it has its chance: other runs are done meanwhile.
    other = trigger("one", {"folder": ""}, key="other")
    wait_until(lambda: Run.objects.get(pk=other.pk).status == "done", what="another run")
    assert statuses(run) == {"held": "done", "after": "pending"}
    assert Run.objects.get(pk=run.pk).status == "paused"
    resume_run(run)
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.state["counted"]) == ("done", 3)


def test_another_waiting_step_is_skipped_while_a_worker_is_in_the_middle_of_one(
    processes: Processes, tmp_path: Path
) -> None:
    start_worker(processes)
    waiting = {"name": "wait", "type": "flow.wait", "needs": [], "with": {"event": "never"}}
    join = {"name": "join", "type": PLAIN, "needs": ["held", "wait"]}
    run = start_one(waiting, hold(tmp_path, needs=[]), join)
    wait_for_handler(tmp_path)
    wait_until(lambda: StepRun.objects.filter(waiting_for="event").exists(), what="the wait")
    skip_step(run, "wait", {"by": "hand"})
    assert statuses(run) == {"held": "running", "wait": "skipped"}
    let_go(tmp_path)
    wait_for_end()
    run.refresh_from_db()
    assert (run.status, run.output_of("wait")) == ("done", {"by": "hand"})
    assert statuses(run)["join"] == "done"


def test_undo_after_a_cancel_in_the_middle_takes_back_what_was_recorded_too_late(
    processes: Processes, tmp_path: Path
) -> None:
    start_worker(processes)
    first = {"name": "first", "type": PLAIN, "undo": UNDO}
    run = start_one(first, hold(tmp_path, undo=UNDO), {"name": "after", "type": PLAIN})
    wait_for_handler(tmp_path)
    cancel_run(run)
    let_go(tmp_path)
    wait_for_end()
    undo_run(run)
    wait_until(lambda: Note.objects.filter(key__isnull=False).count() == 2 and all_ended(), what="the undo")
    run.refresh_from_db()
    assert run.status == "cancelled"
    undone = run.step_runs.filter(undoes__isnull=False).order_by("number")
    assert [(str(row), row.status) for row in undone] == [("held:undo", "done"), ("first:undo", "done")]


def test_event_for_a_step_that_a_worker_is_in_the_middle_of_asking_for_is_not_lost(
    processes: Processes, tmp_path: Path
) -> None:
    processes.clock()
    start_worker(processes)
    waits = [{"name": f"w{place}", "type": "flow.wait", "with": {"event": "go"}} for place in range(3)]
    define("many", steps=waits)
    runs = trigger_many("many", [{} for _ in range(10)])
    for run in runs:
        for number in range(3):
            send_event(run, "go", number, id=f"e{number}")
    wait_for_end()
    for run in runs:
        run.refresh_from_db()
        assert [run.output_of(f"w{place}")["payload"] for place in range(3)] == [0, 1, 2]


def start_parents() -> list[Run]:
    """Start runs that call another for each of their items, and join the outputs."""
    leaf = {"name": "leaf", "type": ATOMIC, "with": {"ms": 5}}
    define("child", steps=[{"name": "begin", "type": PLAIN, "with": {"ms": 5}}, leaf])
    call = {"name": "calls", "type": "flow.call", "for_each": "values", "max_parallel": 2}
    key = "{{ run.key }}-{{ index }}"
    define(
        "parent",
        steps=[
            {**call, "with": {"workflow": "child", "key": key}},
            {"name": "after", "type": ATOMIC},
        ],
    )
    inputs = [{"values": list(range(ITEMS))} for _ in range(PARENTS)]
    return trigger_many("parent", inputs, keys=[f"p{number}" for number in range(PARENTS)])


def demand_each_child_once(parents: list[Run]) -> None:
    """Demand that all parents are done, each with its children's outputs, and each child was made once."""
    for parent in parents:
        parent.refresh_from_db()
        assert (parent.status, parent.error) == ("done", "")
        assert parent.output_of("calls") == [2] * ITEMS
        assert parent.state["counted"] == 1
    children = Run.objects.filter(workflow__name="child")
    assert Counter(children.values_list("status", flat=True)) == {"done": PARENTS * ITEMS}
    assert {run.state["counted"] for run in children} == {2}
    calls = Counter(text for text in texts() if text.endswith((" leaf", " after")))
    assert set(calls.values()) == {1}
    assert len(calls) == PARENTS * (ITEMS + 1)
    rows = StepRun.objects.values_list("run", "step", "visit", "index", "attempt")
    assert len(rows) == len(set(rows))


def children_done() -> int:
    return Run.objects.filter(workflow__name="child", status="done").count()


@pytest.mark.parametrize("fault", [pytest.param("kill", marks=pytest.mark.sqlite_too), "flush and kill"])
def test_map_of_called_workflows_outlives_kills_and_flushes(
    processes: Processes, redis_server: RedisServer, fault: str
) -> None:
    processes.clock()
    workers = [processes.worker(), processes.worker()]
    parents = start_parents()
    for number, goal in enumerate((5, 20, 40, 60)):
        wait_until(lambda goal=goal: children_done() >= goal, what=f"{goal} children")
        assert not all_ended(), "the load was too small to show anything"
        workers[number % 2].kill_all()
        if fault != "kill":
            redis_server.flush()
        processes.revive()
    wait_for_end(meanwhile=processes.revive)
    demand_each_child_once(parents)
