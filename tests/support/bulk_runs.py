"""What the tests of bulk actions share: many runs, and a bulk action done to its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_workflow import define, trigger
from django_workflow.engine.bulk import advance, start_bulk
from django_workflow.engine.run_filters import RunFilters
from django_workflow.models import BulkAction, Run, RunAction, StepRun

NAP = {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}
FAIL = {"name": "broken", "type": "tests.fail"}


def several(count: int, *steps: dict[str, Any], name: str = "flow") -> list[Run]:
    """Return so many runs of a workflow of these steps, in the order of their ids."""
    define(name, steps=list(steps))
    return sorted((trigger(name) for _ in range(count)), key=lambda run: run.pk)


def begin(verb: str, using: str = "default", **filters: Any) -> BulkAction:
    """Start a bulk action."""
    return start_bulk(verb, RunFilters(**filters), using=using)


def finish(bulk: BulkAction) -> BulkAction:
    """Do the bulk action until it stops by itself, and return it as it then is."""
    while advance("default", bulk.pk):
        pass
    return fresh(bulk)


def fresh(bulk: BulkAction) -> BulkAction:
    """Return the bulk action as it is in the database."""
    return BulkAction.objects.get(pk=bulk.pk)


def let_lease_expire(bulk: BulkAction) -> None:
    """Let anybody go on with the bulk action."""
    BulkAction.objects.filter(pk=bulk.pk).update(due_at=timezone.now() - timedelta(minutes=1))


def counts(bulk: BulkAction) -> tuple[int, int, int]:
    """Return the total, and how many were done and refused."""
    bulk = fresh(bulk)
    return bulk.total, bulk.done, bulk.refused


def times_done(bulk: BulkAction) -> list[int]:
    """Return how often the verb was done to each run that it was done to."""
    runs = [action.run_id for action in RunAction.objects.filter(verb=bulk.verb)]
    return [runs.count(run) for run in dict.fromkeys(runs)]


def attempts() -> list[int]:
    """Return the latest attempt of each run's step, in the order of the runs."""
    rows = StepRun.objects.current().order_by("run_id")
    return list(rows.values_list("attempt", flat=True))
