"""Worker processes for the tests of joins, and steps that end in the same millisecond in several of them."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time

from django_workflow import StepContext, step, trigger
from django_workflow.engine.execute import work
from django_workflow.models import Run
from django_workflow.status import FINAL_RUN
from tests.testapp.models import Note

# In seconds: the ends of all branches, in all processes, are at whole multiples of it.
GRID = 0.05


def end_together() -> float:
    """Wait for the next moment at which everybody ends, and return when it was."""
    threading.Event().wait(GRID - time.time() % GRID)
    return time.time()


def called(context: StepContext) -> None:
    """Note that a step was called."""
    index = "" if context.index is None else f" {context.index}"
    Note.objects.create(text=f"{context.run_id} {context.step}{index}")


@step("joins.branch")
def branch(context: StepContext) -> float:
    """End when the branches beside it do; the output is when."""
    called(context)
    context.state[context.step] = True
    return end_together()


@step("joins.item")
def item(context: StepContext, value: int) -> float:
    """End when the items beside it do; the output is when."""
    called(context)
    return end_together()


@step("joins.join")
def join(context: StepContext, outputs: list[object]) -> list[object]:
    """Say what was there when it began."""
    called(context)
    return outputs


@step("joins.last")
def last(context: StepContext, left: int) -> None:
    """Start the next run of this lane: few runs at a time, so that all branches of one run side by side."""
    called(context)
    if left > 0:
        trigger("flow", {"left": left - 1, "values": [1, 2, 3, 4]})


def work_until_all_have_ended(seconds: float) -> None:
    """Be a worker until every run is final, or it takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and Run.objects.exclude(status__in=FINAL_RUN).exists():
        work("default", seconds=5)
        threading.Event().wait(0.03)


def work_in_processes(count: int, *, seconds: float) -> None:
    """Be so many workers, and exit with the number of those that broke off."""
    forking = multiprocessing.get_context("fork")
    workers = [forking.Process(target=work_until_all_have_ended, args=(seconds,)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(sum(worker.exitcode != 0 for worker in workers))
