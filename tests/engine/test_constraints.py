"""What the database itself refuses: every constraint of the models, by its name."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from django_workflow import define
from django_workflow.models import (
    Answer,
    BulkAction,
    Event,
    Run,
    RunAction,
    Step,
    StepRun,
    Workflow,
    WorkflowVersion,
)
from django_workflow.status import FINAL_RUN, FINAL_STEP, RunStatus, StepStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def workflow() -> Workflow:
    return define("flow", steps=[{"name": "one", "type": "tests.echo"}])


def make_run(workflow: Workflow, **fields: object) -> Run:
    return Run.objects.create(
        workflow=workflow, version=workflow.published, created_at=timezone.now(), **fields
    )


def make_step_run(workflow: Workflow, **fields: object) -> StepRun:
    values = {
        "run": Run.objects.first() or make_run(workflow),
        "step": "one",
        "created_at": timezone.now(),
        **fields,
    }
    return StepRun.objects.create(**values)


def make_event(**fields: object) -> Event:
    return Event.objects.create(name="paid", at=timezone.now(), **fields)


def make_events(**fields: object) -> list[Event]:
    return [make_event(**fields), make_event(**fields)]


def make_answers(row: StepRun, **fields: object) -> list[Answer]:
    values = {"step_run": row, "name": "somebody", "is_approved": True, "at": NOW, **fields}
    return [Answer.objects.create(**values), Answer.objects.create(**values)]


def make_bulk_actions(run: Run) -> list[RunAction]:
    bulk = BulkAction.objects.create(verb="retry", created_at=NOW)
    return [RunAction.objects.create(run=run, verb="retry", bulk=bulk, at=NOW) for _ in range(2)]


def twice(make: Callable[[Workflow], object]) -> Callable[[Workflow], object]:
    def make_twice(workflow: Workflow) -> object:
        make(workflow)
        return make(workflow)

    return make_twice


def change(**fields: object) -> Callable[[Workflow], object]:
    """Return what updates a pending step run, as the engine does."""
    return lambda workflow: StepRun.objects.filter(pk=make_step_run(workflow).pk).update(**fields)


NOW = timezone.now()
REFUSED: list[tuple[str, Callable[[Workflow], object]]] = [
    ("workflow_known_owner", lambda workflow: Workflow.objects.update(managed_by="nobody")),
    (
        "workflow_step_name_unique",
        lambda workflow: Step.objects.create(workflow=workflow, name="one", type="a.b"),
    ),
    (
        "workflow_version_number_unique",
        lambda workflow: WorkflowVersion.objects.create(workflow=workflow, number=1, spec={}),
    ),
    ("workflow_run_known_status", lambda workflow: make_run(workflow, status="odd")),
    ("workflow_run_finished_when_final", lambda workflow: make_run(workflow, status="done")),
    (
        "workflow_run_finished_when_final",
        lambda workflow: make_run(workflow, status="running", finished_at=NOW),
    ),
    ("workflow_run_known_ending", lambda workflow: make_run(workflow, ending="running")),
    ("workflow_run_key_unique", twice(lambda workflow: make_run(workflow, key="k"))),
    ("workflow_step_run_known_status", lambda workflow: make_step_run(workflow, status="odd")),
    ("workflow_step_run_finished_when_final", lambda workflow: make_step_run(workflow, status="done")),
    ("workflow_step_run_finished_when_final", change(finished_at=NOW)),
    ("workflow_step_run_waits_for_something", lambda workflow: make_step_run(workflow, status="waiting")),
    ("workflow_step_run_waits_for_something", change(waiting_for="timer")),
    ("workflow_step_run_waits_for_something", change(status="waiting", waiting_for="godot")),
    ("workflow_step_run_leased_when_running", change(status="running", due_at=NOW)),
    ("workflow_step_run_leased_when_running", change(status="running", lease_token=uuid4())),
    ("workflow_step_run_leased_when_running", change(lease_token=uuid4())),
    ("workflow_step_run_counts", lambda workflow: make_step_run(workflow, index=-2)),
    ("workflow_step_run_counts", lambda workflow: make_step_run(workflow, visit=0)),
    ("workflow_step_run_counts", lambda workflow: make_step_run(workflow, attempt=0)),
    ("workflow_step_run_unique", twice(make_step_run)),
    ("workflow_event_is_addressed", lambda workflow: make_event()),
    ("workflow_event_is_addressed", lambda workflow: make_event(workflow=workflow)),
    ("workflow_event_is_addressed", lambda workflow: make_event(run=make_run(workflow), key="k")),
    ("workflow_event_id_unique", lambda workflow: make_events(run=make_run(workflow), event_id="e")),
    (
        "workflow_event_id_unique_by_key",
        lambda workflow: make_events(workflow=workflow, key="k", event_id="e"),
    ),
    ("workflow_answer_once_each", lambda workflow: make_answers(make_step_run(workflow), by_id=7)),
    ("workflow_run_action_once_a_bulk", lambda workflow: make_bulk_actions(make_run(workflow))),
]


def constraints() -> dict[str, models.BaseConstraint]:
    return {
        each.name: each
        for model in apps.get_app_config("django_workflow").get_models()
        for each in model._meta.constraints
    }


def says(name: str) -> list[str]:
    """Return what the database's message may call a constraint: SQLite names the columns of a unique one."""
    constraint = constraints()[name]
    if connection.vendor != "sqlite" or not isinstance(constraint, models.UniqueConstraint):
        return [name]
    return ["UNIQUE constraint failed", *constraint.fields]


@pytest.mark.parametrize(
    ("name", "act"), REFUSED, ids=[f"{name}-{number}" for number, (name, _) in enumerate(REFUSED)]
)
def test_the_database_refuses_it_by_name(workflow, name, act) -> None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        act(workflow)
    for part in says(name):
        assert part in str(caught.value)


def test_every_constraint_has_its_test() -> None:
    assert set(constraints()) == {name for name, _ in REFUSED}


@pytest.mark.parametrize("status", RunStatus.values)
def test_every_status_of_a_run_can_be_stored(workflow, status) -> None:
    make_run(workflow, status=status, finished_at=NOW if status in FINAL_RUN else None)


@pytest.mark.parametrize("status", StepStatus.values)
def test_every_status_of_a_step_run_can_be_stored(workflow, status) -> None:
    running = {"lease_token": uuid4(), "due_at": NOW} if status == "running" else {}
    waiting = {"waiting_for": "timer"} if status == "waiting" else {}
    make_step_run(
        workflow, status=status, finished_at=NOW if status in FINAL_STEP else None, **running, **waiting
    )


def test_a_key_may_be_absent_many_times(workflow) -> None:
    assert make_run(workflow).pk != make_run(workflow).pk


def test_a_workflow_with_runs_cannot_be_deleted(workflow) -> None:
    make_run(workflow)
    with pytest.raises(models.ProtectedError):
        workflow.delete()


def test_ids_of_runs_and_step_runs_are_in_the_order_of_time(workflow) -> None:
    ids = [make_run(workflow).pk for _ in range(50)]
    assert ids == sorted(ids)
