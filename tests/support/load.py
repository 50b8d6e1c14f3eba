"""Runs by the dozen, and the proof that each step of them was recorded once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db.models import Q

from django_workflow import define, trigger, trigger_many
from django_workflow.models import Run, StepRun
from django_workflow.status import FINAL_RUN, StepStatus
from tests.support.processes import PATIENCE, wait_until
from tests.testapp.models import Note

# How often a fault is repeated: a few times in the suite, and as often as one likes by hand.
ROUNDS = int(os.environ.get("WORKFLOW_TEST_ROUNDS", "2"))

ATOMIC, IDEMPOTENT, PLAIN = "testapp.count_atomically", "testapp.count_idempotently", "testapp.count"
MIXED = (PLAIN, ATOMIC, IDEMPOTENT, ATOMIC, PLAIN)


def start_chains(count: int, types: Sequence[str] = MIXED, *, ms: int = 0) -> None:
    """Start so many runs of a list of steps of these types, in one transaction."""
    define_chain(types, ms=ms)
    trigger_many("chain", [{} for _ in range(count)])


def define_chain(types: Sequence[str] = MIXED, *, ms: int = 0) -> None:
    """Define the workflow ``chain``: steps ``s0``, ``s1``, … of these types, of so many milliseconds."""
    define(
        "chain",
        steps=[{"name": f"s{place}", "type": each, "with": {"ms": ms}} for place, each in enumerate(types)],
    )


def start_one(*steps: Mapping[str, Any], **input: Any) -> Run:
    """Start one run of these steps."""
    define("one", steps=steps)
    return trigger("one", input)


def all_ended() -> bool:
    """Whether every run is final."""
    return not Run.objects.exclude(status__in=FINAL_RUN).exists()


def wait_for_end(seconds: float = PATIENCE, *, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Wait until every run is final, and fail with what is not."""
    try:
        wait_until(lambda: (meanwhile(), all_ended())[1], seconds, what="the end of all runs")
    except AssertionError as error:
        raise AssertionError(f"{error}; not ended: {describe_unfinished()}") from None


def recorded() -> int:
    """Return how many step runs are done."""
    return StepRun.objects.filter(status=StepStatus.DONE).count()


def crashes() -> int:
    """Return how many crashes were counted against steps."""
    return sum(StepRun.objects.values_list("crashes", flat=True))


def describe_unfinished() -> str:
    """Return what is live, to show where runs hang."""
    columns = ("run_id", "step", "status", "waiting_for", "started_at", "due_at", "crashes", "solo", "worker")
    live = StepRun.objects.live().values_list(*columns)
    runs = Run.objects.exclude(status__in=FINAL_RUN).values_list("status", flat=True)
    return "\n".join([str(Counter(runs)), *(" ".join(map(str, row)) for row in live[:10])])


def assert_recorded_once(types: Sequence[str] = MIXED, *, name: str = "chain") -> int:
    """Assert that all runs are done and each of their steps was recorded once.

    Returns how many calls of handlers came to nothing: those that a crash interrupted.
    """
    runs = list(Run.objects.filter(workflow__name=name))
    assert {(run.status, run.error) for run in runs} <= {("done", "")}
    # A second recording of any step would have counted on, or started a step anew.
    assert {run.state["counted"] for run in runs} <= {len(types)}
    rows = Counter(StepRun.objects.filter(run__workflow__name=name).values_list("run_id", "step", "status"))
    wanted = {(run.pk, f"s{place}", "done"): 1 for run in runs for place in range(len(types))}
    assert rows == wanted
    assert not StepRun.objects.filter(Q(lease_token__isnull=False) | Q(due_at__isnull=False)).exists()
    calls = Counter(Note.objects.values_list("text", flat=True))
    for run in runs:
        for place, each in enumerate(types):
            called = calls[f"{run.pk} s{place}"]
            assert called == 1 if each == ATOMIC else called >= 1, (run.pk, place, each, called)
    return sum(calls.values()) - len(wanted)
