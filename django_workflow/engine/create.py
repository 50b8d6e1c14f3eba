"""Triggering: check the input, keep the key, pin the version, insert the rows (ENGINE.md rule 31)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import router, transaction
from django.db.models import Model

from ..codec import check_size, encode_top_level
from ..conf import get_settings
from ..definition.program import Program
from ..definition.spec import RESERVED_STATE
from ..exceptions import NotStorable, ParamsError, WorkflowNotFound
from ..models import Run, Source, StepRun, Workflow
from ..models.fresh import make
from ..params import declared_params
from ..references import reference_to
from ..status import RunStatus
from ..storable import is_storable_text
from .hand_over import hand_over
from .moves import RunState
from .now import database_now
from .plan import plan_start
from .programs import get_program
from .rows import make_rows
from .statements import insert

logger = logging.getLogger("django_workflow")

MAX_KEY = 255
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asks for, checked and encoded: one run."""

    input: dict[str, Any]
    key: str | None = None
    subject: Model | None = None


def find_workflow(name: str, using: str) -> Workflow:
    """Return the workflow.

    Raises ``WorkflowNotFound`` for an unknown name, and for one that was never published.
    """
    workflow = Workflow.objects.using(using).filter(name=name).first()
    if workflow is None:
        known = ", ".join(Workflow.objects.using(using).values_list("name", flat=True)[:20])
        raise WorkflowNotFound(
            f"no workflow named {name!r} on database {using!r}; there are: {known or 'none'}"
        )
    if workflow.published_id is None and workflow.enabled:
        raise WorkflowNotFound(
            f"workflow {name!r} was never published: publish it in the admin, or with define()"
        )
    return workflow


def write_alias(using: str | None) -> str:
    """Return the alias that runs live on: ``using``, else what the router says for writing a Run."""
    return using or router.db_for_write(Run)


def make_order(
    workflow: Workflow,
    given: Mapping[str, Any] | None,
    *,
    using: str,
    key: str | None = None,
    subject: Model | None = None,
) -> Order:
    """Return what a caller asks for, checked and encoded.

    Raises ``ParamsError`` for input that the workflow does not declare, ``NotStorable``, ``TooLarge``, and
    ``ValueError`` for a key that is not text of 1 to 255 characters.
    """
    if key is not None:
        _check_key(key)
    program = None if workflow.published_id is None else get_program(workflow.published_id, using)
    return Order(
        input=_check_input(workflow, program, {} if given is None else given, using), key=key, subject=subject
    )


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not is_storable_text(key):
        raise ValueError(
            f"a key is text of 1 to {MAX_KEY} characters without NUL or lone surrogates, not {key!r:.80}"
        )


def _check_input(workflow: Workflow, program: Program | None, values: Any, using: str) -> dict[str, Any]:
    what = f"input of {workflow.name}"
    if not isinstance(values, Mapping):
        raise ParamsError(what, {"input": [f"an object is needed, not {type(values).__name__}"]})
    if program is not None and program.spec.input is not None:
        values = declared_params(program.spec.input).convert(values, what=what, using=using)
    for key in RESERVED_STATE & set(values):
        raise NotStorable(
            f"input.{key}", "this word has its own meaning in expressions; give it another name"
        )
    encoded: dict[str, Any] = encode_top_level(values, "input", using=using)
    check_size(encoded, "input", get_settings().MAX_BYTES)
    return encoded


def create_run(
    workflow: Workflow,
    order: Order,
    *,
    using: str,
    source: Source = Source.CODE,
    user: AbstractBaseUser | None = None,
) -> Run:
    """Insert one run, or return the run that has the key already (``was_created`` False).

    Drives it after the commit.
    """
    now = database_now(using)
    run = _make_run(workflow, order, now, using, source, user)
    rows = _first_rows(workflow, [run], now, using)
    if run.key is None:
        insert(using, [run], rows)
    else:
        with transaction.atomic(using=using):
            earlier = _insert_or_find(run, using)
            if earlier is not None:
                return earlier
            insert(using, [], rows)
    _hand_over([run], rows, using)
    return run


def create_runs(
    workflow: Workflow, orders: Sequence[Order], *, using: str, user: AbstractBaseUser | None = None
) -> list[Run]:
    """Insert many runs in one transaction, in key order, and return them in the order given."""
    now = database_now(using)
    runs = [_make_run(workflow, order, now, using, Source.CODE, user) for order in orders]
    with transaction.atomic(using=using):
        found = _insert_many(sorted(runs, key=lambda run: run.key or ""), using)
        fresh = [run for run in runs if found.get(run.key or "", run) is run]
        rows = _first_rows(workflow, fresh, now, using)
        for start in range(0, len(rows), BATCH):
            insert(using, [], rows[start : start + BATCH])
    _hand_over(fresh, rows, using)
    return [found.get(run.key or "", run) for run in runs]


def _make_run(
    workflow: Workflow, order: Order, now: datetime, using: str, source: Source, user: AbstractBaseUser | None
) -> Run:
    run = make(
        Run,
        workflow_id=workflow.pk,
        version_id=workflow.published_id,
        input=order.input,
        state=order.input,
        key=order.key,
        source=source,
        triggered_by_id=None if user is None else user.pk,
        created_at=now,
    )
    run._state.db, run.workflow = using, workflow
    if order.subject is not None:
        reference = reference_to(order.subject, using)
        run.subject_type, run.subject_id = reference.model, str(order.subject.pk)
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


def _hand_over(runs: Sequence[Run], rows: Sequence[StepRun], using: str) -> None:
    hand_over([run for run in runs if not run.is_final], rows, using=using)
