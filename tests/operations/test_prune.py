"""Pruning: old final runs go with all that is theirs, and nothing else does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from django_workflow import cancel_run, define, trigger
from django_workflow.engine.prune import Pruned, count_prunable, prune_runs
from django_workflow.management.commands import prune_runs as prune_command
from django_workflow.models import Answer, BulkAction, Event, Run, RunAction, StepRun, Workflow
from tests.support.bulk_runs import FAIL, NAP, begin, finish, several

from .conftest import Manage

pytestmark = pytest.mark.django_db(transaction=True)

DONE = {"name": "first", "type": "tests.echo"}
WEEK = timedelta(days=7)


def age(days: float = 10, *runs: Run) -> None:
    """Let the runs, or all final ones, have finished so many days ago."""
    chosen = Run.objects.filter(finished_at__isnull=False)
    if runs:
        chosen = chosen.filter(pk__in=[run.pk for run in runs])
    chosen.update(finished_at=timezone.now() - timedelta(days=days))


def left() -> set[Any]:
    return set(Run.objects.values_list("pk", flat=True))


def test_old_final_runs_go_and_others_stay() -> None:
    old = [*several(2, DONE), *several(1, FAIL), cancel_run(several(1, NAP)[0])]
    age()
    (young,) = several(1, DONE)
    (live,) = several(1, NAP)
    assert prune_runs(WEEK, using="default") == Pruned(runs=len(old))
    assert left() == {young.pk, live.pk}


def test_nothing_of_a_run_that_is_gone_is_left() -> None:
    run = cancel_run(several(1, NAP)[0])
    row = run.step_runs.get()
    Event.objects.create(run=run, name="paid", at=timezone.now(), taken_by=row)
    Answer.objects.create(step_run=row, name="anna", is_approved=True, at=timezone.now())
    age()
    prune_runs(WEEK, using="default")
    models: list[type[Model]] = [Run, StepRun, RunAction, Event, Answer]
    assert [model._default_manager.count() for model in models] == [0] * 5


def test_a_key_is_free_again() -> None:
    define("flow", steps=[DONE])
    first = trigger("flow", key="k")
    age()
    prune_runs(WEEK, using="default")
    second = trigger("flow", key="k")
    assert second.was_created
    assert second.pk != first.pk


def test_only_the_runs_of_one_workflow_where_it_is_named() -> None:
    several(1, DONE)
    (other,) = several(1, DONE, name="other")
    age()
    bulk = finish(begin("retry"))
    BulkAction.objects.update(finished_at=timezone.now() - timedelta(days=10))
    assert prune_runs(WEEK, workflow="flow", using="default") == Pruned(runs=1)
    assert left() == {other.pk}
    assert BulkAction.objects.get() == bulk


@pytest.mark.parametrize(
    ("values", "is_kept"),
    [
        ({"status": "waiting", "waiting_for": "child"}, True),
        ({"status": "pending", "waiting_for": ""}, True),
        ({"status": "done", "waiting_for": "", "finished_at": timezone.now()}, False),
    ],
)
def test_a_run_that_a_live_step_has_called_is_kept(values: dict[str, Any], is_kept: bool) -> None:
    (child,) = several(1, DONE)
    (parent,) = several(1, NAP)
    parent.step_runs.update(child=child, **values)
    Run.objects.filter(pk=child.pk).update(parent=parent.step_runs.get())
    age()
    assert prune_runs(WEEK, using="default").runs == (not is_kept)
    assert (child.pk in left()) is is_kept
    assert parent.step_runs.get().child_id == (child.pk if is_kept else None)


def test_what_was_called_outlives_its_caller() -> None:
    (parent,) = several(1, DONE)
    (child,) = several(1, NAP)
    (again,) = several(1, DONE)
    Run.objects.filter(pk=child.pk).update(parent=parent.step_runs.get())
    Run.objects.filter(pk=again.pk).update(restarted_from=parent)
    age(10, parent)
    prune_runs(WEEK, using="default")
    assert left() == {child.pk, again.pk}
    assert set(Run.objects.values_list("parent", "restarted_from")) == {(None, None)}


def test_events_that_no_run_took_and_finished_bulk_actions_go() -> None:
    several(1, NAP)
    workflow, long_ago = Workflow.objects.get(), timezone.now() - timedelta(days=10)
    for at in (timezone.now(), long_ago):
        Event.objects.create(workflow=workflow, key="k", name="paid", at=at)
    finished = finish(begin("cancel"))
    BulkAction.objects.update(finished_at=long_ago)
    several(1, NAP)
    begin("cancel")
    assert prune_runs(WEEK, using="default") == Pruned(events=1, bulk_actions=1)
    assert Event.objects.count() == 1
    assert finished not in BulkAction.objects.all()
    assert RunAction.objects.get().bulk is None


def test_many_runs_go_in_batches() -> None:
    (run,) = several(1, DONE)
    at = {"status": "done", "created_at": run.created_at, "finished_at": run.created_at}
    copies = [Run(workflow=run.workflow, version=run.version, **at) for _ in range(1100)]
    Run.objects.bulk_create(copies)
    StepRun.objects.bulk_create([StepRun(run=each, step="first", **at) for each in copies])
    age()
    told: list[int] = []
    assert prune_runs(WEEK, using="default", tell=told.append) == Pruned(runs=1101)
    assert told == [500, 1000, 1101]
    assert StepRun.objects.count() == 0


def test_a_run_that_goes_on_again_when_its_turn_comes_is_kept() -> None:
    (run,), others = several(1, FAIL), several(2, FAIL)
    age()
    revived: list[Run] = []

    def revive(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        # Once the runs are chosen, and before any of them is locked.
        result = execute(sql, params, many, context)
        if not revived and sql.startswith("SELECT") and Run._meta.db_table in sql:
            revived.append(run)
            Run.objects.filter(pk=run.pk).update(status="waiting", finished_at=None)
        return result

    with connection.execute_wrapper(revive):
        assert prune_runs(WEEK, using="default") == Pruned(runs=len(others))
    assert left() == {run.pk}


def test_what_is_counted_is_what_goes() -> None:
    several(3, DONE)
    age()
    assert count_prunable(WEEK, using="default") == Pruned(runs=3)
    assert Run.objects.count() == 3
    assert prune_runs(WEEK, using="default") == Pruned(runs=3)


# The command


def test_the_command_prunes_what_is_older_than_keep(manage: Manage, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {**settings.DJANGO_WORKFLOW, "KEEP": "7d"}
    several(2, DONE)
    age(10)
    (young,) = several(1, DONE)
    assert manage("prune_runs", "--dry-run").out == "2 runs older than 7d.\n"
    done = manage("prune_runs")
    assert (done.code, done.out) == (0, "Deleted 2 runs older than 7d.\n")
    assert left() == {young.pk}


def test_the_command_is_told_what_is_old(manage: Manage) -> None:
    several(1, DONE)
    several(1, DONE, name="other")
    age(2)
    assert manage("prune_runs").out == "Deleted 0 runs older than 90d.\n"
    done = manage("prune_runs", "--older-than", "1d", "--workflow", "other")
    assert done.out == "Deleted 1 run older than 1d.\n"


def test_where_runs_are_kept_for_ever_an_age_is_needed(manage: Manage, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {**settings.DJANGO_WORKFLOW, "KEEP": None}
    done = manage("prune_runs")
    assert done.code == 2
    assert "--older-than" in done.err
    assert manage("prune_runs", "--older-than", "1d").code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--older-than", "soon"], "'soon' is no duration"),
        (["--workflow", "no"], "There is no workflow 'no'"),
    ],
)
def test_bad_usage_is_refused(manage: Manage, arguments: list[str], problem: str) -> None:
    several(1, DONE)
    age(100)
    done = manage("prune_runs", *arguments)
    assert done.code != 0
    assert problem in done.err
    assert Run.objects.count() == 1


def test_what_is_deleted_when_it_is_interrupted_stays_deleted(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(3, DONE)
    age(100)
    monkeypatch.setattr("django_workflow.engine.prune.BATCH", 1)

    class Interrupted(prune_command.Command):
        def _tell(self, count: int) -> None:
            super()._tell(count)
            if count == 2:
                raise KeyboardInterrupt

    done = manage(Interrupted())
    assert done.code == 130
    assert "2 runs are deleted" in done.err
    assert Run.objects.count() == 1
