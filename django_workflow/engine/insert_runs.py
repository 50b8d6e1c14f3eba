"""Inserting runs: the key kept, the version pinned, the first step runs beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from ..models import Run, Source, StepRun, Workflow
from ..models.fresh import make
from ..status import RunStatus
from .moves import RunState
from .now import database_now
from .orders import Order
from .plan import plan_start
from .programs import get_program
from .rows import make_rows
from .statements import insert

logger = logging.getLogger("django_workflow")

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run comes from: what triggered it, who, and the step run that called it, at which depth."""

    source: Source = Source.CODE
    user_id: Any = None
    parent: StepRun | None = None
    depth: int = 0


def insert_run(workflow: Workflow, order: Order, origin: Origin, *, using: str) -> tuple[Run, list[StepRun]]:
    """Insert one run and return it with its first step runs.

    Or return the run that has the key already, ``was_created`` False, and none.
    """
    now = database_now(using)
    run = _make_run(workflow, order, now, using, origin)
    rows = _first_rows(workflow, [run], now, using)
    if run.key is None:
        insert(using, [run], rows)
        return run, rows
    with transaction.atomic(using=using):
        earlier = _insert_or_find(run, using)
        if earlier is not None:
            return earlier, []
        insert(using, [], rows)
    return run, rows


def insert_runs(
    workflow: Workflow, orders: Sequence[Order], origins: Sequence[Origin], *, using: str
) -> tuple[list[Run], list[StepRun]]:
    """Insert many runs in one transaction, in key order; return them in the order given, with their rows.

    ``origins`` are where they come from, one for each of ``orders``.
    """
    now = database_now(using)
    runs = [
        _make_run(workflow, order, now, using, origin) for order, origin in zip(orders, origins, strict=True)
    ]
    with transaction.atomic(using=using):
        found = _insert_many(sorted(runs, key=lambda run: run.key or ""), using)
        fresh = [run for run in runs if found.get(run.key or "", run) is run]
        rows = _first_rows(workflow, fresh, now, using)
        for start in range(0, len(rows), BATCH):
            insert(using, [], rows[start : start + BATCH])
    return [run if run in fresh else _find_again(found.get(run.key or "", run)) for run in runs], rows


def _find_again(run: Run) -> Run:
    """Return a run as a later order of its key finds it."""
    again = copy(run)
    again.was_created = False
    return again


def _make_run(workflow: Workflow, order: Order, now: datetime, using: str, origin: Origin) -> Run:
    run = make(
        Run,
        workflow_id=workflow.pk,
        version_id=workflow.published_id,
        input=order.input,
        state=order.input,
        key=order.key,
        source=origin.source,
        triggered_by_id=origin.user_id,
        parent_id=None if origin.parent is None else origin.parent.pk,
        depth=origin.depth,
        created_at=now,
    )
    run._state.db, run.workflow = using, workflow
    if order.subject is not None:
        run.subject_type, run.subject_id = order.subject.model, str(order.subject.pk)
    elif origin.parent is not None:
        caller = origin.parent.run
        run.subject_type, run.subject_id = caller.subject_type, caller.subject_id
    if not workflow.enabled:
        run.status, run.finished_at, run.key = RunStatus.CANCELLED, now, None
        run.error = f"workflow {workflow.name!r} is switched off"
        logger.warning(
            "Run %s of %s was cancelled at once: the workflow is switched off.", run.pk, workflow.name
        )
    elif workflow.published_id is not None and (
        timeout := get_program(workflow.published_id, using).spec.timeout
    ):
        run.deadline = now + timeout
    return run


def _insert_or_find(run: Run, using: str) -> Run | None:
    """Insert the run unless its key is taken, without breaking the caller's transaction.

    Return the run that has it.
    """
    runs = Run.objects.using(using)
    runs.bulk_create([run], ignore_conflicts=True)
    found = runs.select_related("workflow").get(workflow_id=run.workflow_id, key=run.key)
    if found.pk == run.pk:
        return None
    found.was_created = False
    return found


def _insert_many(runs: Sequence[Run], using: str) -> dict[str, Run]:
    """Insert runs in key order; return by key the run that has it: the new one, or an earlier one."""
    keyed = {run.key: run for run in reversed(runs) if run.key is not None}
    rows = [*keyed.values(), *(run for run in runs if run.key is None)]
    rows.sort(key=lambda run: run.key or "")
    manager = Run.objects.using(using)
    for start in range(0, len(rows), BATCH):
        if keyed:
            manager.bulk_create(rows[start : start + BATCH], ignore_conflicts=True)
        else:
            insert(using, rows[start : start + BATCH], [])
    found: dict[str, Run] = {}
    keys = sorted(keyed)
    for start in range(0, len(keys), BATCH):
        for run in manager.filter(workflow=runs[0].workflow_id, key__in=keys[start : start + BATCH]):
            assert run.key is not None
            mine = keyed[run.key]
            found[run.key] = mine if mine.pk == run.pk else run
            found[run.key].was_created = mine.pk == run.pk
    return found


def _first_rows(workflow: Workflow, runs: Iterable[Run], now: datetime, using: str) -> list[StepRun]:
    """Return the first step runs of new runs; of one whose steps all wait for a jump nothing follows."""
    if workflow.published_id is None:
        return []
    program = get_program(workflow.published_id, using)
    first = plan_start(program.graph, RunState(number=0), now)
    return [row for run in runs if not run.is_final for row in make_rows(run, program, first, now)]
