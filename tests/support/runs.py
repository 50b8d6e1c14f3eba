"""What the tests of the engine do with runs: start them, read their history, move their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

from django.db import connection, connections, transaction
from django.utils import timezone

from django_workflow import cancel_run, define, trigger
from django_workflow.engine.execute import work
from django_workflow.models import Run, StepRun
from django_workflow.status import StepStatus
from tests.testapp.models import Note

Steps = Sequence[Mapping[str, Any]]


def start(steps: Steps, input: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """Define a workflow of these steps and trigger it; outside of a transaction it has run on return."""
    define("flow", steps=steps, **fields)
    return trigger("flow", input, using=fields.get("using"))


def history(run: Run) -> list[str]:
    """Return the step runs of a run in the order of their creation: name and status."""
    return [f"{row}:{row.status}" for row in step_runs(run)]


def items_of(run: Run, **fields: Any) -> list[str]:
    """Return the step runs of items with these fields, by index and attempt: name and status."""
    rows = step_runs(run).filter(index__gte=0, **fields).order_by("index", "attempt")
    return [f"{row}:{row.status}" for row in rows]


def recorded(run: Run) -> list[str]:
    """Return the names of the steps of a run that are done, in the order in which they were recorded."""
    done = step_runs(run).filter(status=StepStatus.DONE).order_by("number")
    return [str(row) for row in done]


def step_runs(run: Run) -> Any:
    """Return the step runs of a run as they are in the database."""
    return StepRun.objects.using(run._state.db).filter(run_id=run.pk).order_by("created_at", "id")


def step_run(run: Run, name: str, **fields: Any) -> StepRun:
    """Return the only step run of ``name`` with these fields."""
    row: StepRun = step_runs(run).get(step=name, **fields)
    return row


def let_time_pass(run: Run) -> Run:
    """Make due what waits for a point in time, do the work, and return the run as it then is."""
    using = run._state.db
    past = timezone.now() - timedelta(minutes=1)
    step_runs(run).live().filter(due_at__isnull=False).update(due_at=past)
    work(using)
    return fresh(run)


def fresh(run: Run) -> Run:
    """Return the run as it is in the database."""
    return Run.objects.using(run._state.db).select_related("workflow").get(pk=run.pk)


def abandon(run: Run, name: str, *, started: bool = True, **fields: Any) -> StepRun:
    """Leave the step ``name`` as a worker does that died in it: running, and its lease has expired."""
    past = timezone.now() - timedelta(minutes=5)
    row = step_runs(run).live().get(step=name)
    values = {
        "status": StepStatus.RUNNING,
        "waiting_for": "",
        "lease_token": uuid4(),
        "lease_until": past,
        "due_at": past,
        "started_at": past if started else None,
        **fields,
    }
    step_runs(run).filter(pk=row.pk).update(**values)
    Run.objects.using(run._state.db).filter(pk=run.pk).update(status="running", started_at=past)
    return step_run(run, name, pk=row.pk)


@contextmanager
def silent_commit() -> Iterator[None]:
    """Commit what the body does, without what comes after it: the process has died right then, as it were."""
    with transaction.atomic():
        yield
        connection.run_on_commit.clear()


def waiting_run(steps: Steps, input: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """Return a run whose first of ``steps`` has not started: it has a delay."""
    first = {"name": "first", "delay": "1h", **steps[0]}
    return start([first, *steps[1:]], input, **fields)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Call each in a thread of its own, all at once, and return what they gave; the first error is raised."""
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def call(place: int) -> None:
        try:
            results[place] = calls[place]()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=call, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    return results


def demand_whole(*runs: Run) -> None:
    """Demand that no run is final with a live step, nor stopped without one."""
    for run in runs:
        live = step_runs(run).live()
        assert live.exists() == (not fresh(run).is_final), (fresh(run).status, history(run))
        assert not live.filter(status="pending", due_at=None).exists()


def notes() -> list[str]:
    """Return what the handlers have noted, in that order."""
    return [note.text for note in Note.objects.order_by("pk")]


def run_in(status: str) -> Run:
    """Return a run in that status."""
    if status == "pending":
        run = waiting_run([{"type": "tests.note"}])
    elif status == "waiting":
        run = start([{"type": "flow.sleep", "with": {"for": "1h"}}])
    elif status == "failed":
        run = start([{"type": "tests.fail"}])
    elif status == "cancelled":
        run = cancel_run(start([{"type": "flow.sleep", "with": {"for": "1h"}}]))
    elif status == "paused":
        run = start([{"type": "flow.sleep", "with": {"for": "1h"}}])
        Run.objects.update(status="paused")
    else:
        run = start([{"type": "tests.echo"}])
    assert fresh(run).status == status
    return run
