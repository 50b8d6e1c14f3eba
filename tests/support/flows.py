"""Definitions as their writers see them, and what a run of one has come to."""

from __future__ import annotations

from datetime import timedelta
from textwrap import dedent
from typing import Any

from django.utils import timezone

from django_workflow import define
from django_workflow.definition.text import read_text
from django_workflow.engine.execute import work
from django_workflow.models import Run
from django_workflow.test import Kit


def publish(text: str) -> str:
    """Publish the workflow that the YAML ``text`` defines, and return its name."""
    return define(**read_text(dedent(text), format="yaml")).name


def start(kit: Kit, text: str, **input: Any) -> Run:
    """Publish a workflow, run it as far as it comes, and return the run."""
    return kit.trigger(publish(text), input)


def statuses(run: Run) -> dict[str, str]:
    """Return the status of every step in its present visit; a step that has not begun is not there."""
    rows = run.step_runs.current().filter(index=-1).order_by("created_at", "id")
    return dict(rows.values_list("step", "status"))


def waits(run: Run) -> list[str]:
    """Return the events that steps of the run wait for now, sorted."""
    rows = run.step_runs.live().filter(waiting_for="event")
    return sorted(name for awaits in rows.values_list("awaits", flat=True) for name in awaits["events"])


def runs_of(workflow: str) -> list[Run]:
    """Return the runs of a workflow in the order of their creation."""
    return list(Run.objects.filter(workflow__name=workflow).order_by("created_at", "id"))


def let_delays_pass(run: Run) -> None:
    """Make due what waits for the end of its ``delay``; a worker that looks then starts it."""
    past = timezone.now() - timedelta(minutes=1)
    run.step_runs.live().filter(waiting_for="timer").update(due_at=past)


def be_a_worker() -> None:
    """Do what is due, as a worker does, until nothing is."""
    work("default")
