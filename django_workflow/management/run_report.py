"""A run as commands show it: lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils import timezone

from ..engine.now import database_now
from ..insight.facts import read_facts
from ..insight.passed_over import read_failed_steps
from ..insight.why import why
from ..models import Run, StepRun
from ..status import RunStatus, StepStatus, WaitingFor

LONGEST_VALUE = 200
_RUN_FIELDS = ("status", "step", "key", "source", "input", "state", "output", "error", "error_type")
_STEP_FIELDS = (
    "step",
    "visit",
    "index",
    "attempt",
    "status",
    "waiting_for",
    "params",
    "output",
    "error",
    "error_type",
)
_TIMES = ("created_at", "started_at", "finished_at")


def run_as_json(run: Run) -> dict[str, Any]:
    """Return a run and its step runs, in the order they were made, as JSON data."""
    version = None if run.version is None else run.version.number
    own = {"id": str(run.pk), "workflow": run.workflow.name, "version": version}
    own |= {name: getattr(run, name) for name in _RUN_FIELDS}
    times = {name: _iso(getattr(run, name)) for name in (*_TIMES, "deadline")}
    return {**own, **times, "steps": [_step_as_json(each) for each in run.step_runs.order_by("id")]}


def describe_run(run: Run) -> Iterator[str]:
    """Yield the lines that show a run: what it is, each step run, and what operators did."""
    version = "" if run.version is None else f" version {run.version.number}"
    yield f"Run {run.pk} of {run.workflow.name}{version}: {run.status}{_though(run)}"
    yield from (f"  {name + ':':<10}{text}" for name, text in _facts(run) if text)
    for step_run in run.step_runs.order_by("id"):
        yield describe_step(step_run)
    for action in run.actions.prefetch_related("by"):
        by = "" if action.by is None else f" by {action.by}"
        note = f": {action.note}" if action.note else ""
        yield f"{moment(action.at)}  {action.verb}{by}{note}"


def describe_step(step_run: StepRun) -> str:
    """Return the line that shows one step run: when, what, how long, and what came of it."""
    parts = [f"{_when(step_run)}  {step_run!s:<20} {step_run.status:<9}", f"{_duration(step_run):>9} "]
    if step_run.visit > 1:
        parts.append(f"visit {step_run.visit}")
    if step_run.attempt > 1:
        parts.append(f"attempt {step_run.attempt}")
    parts.append(_result(step_run))
    return " ".join(parts).rstrip()


def describe_wait(step_run: StepRun) -> str:
    """Return what a waiting or pending step run waits for, and until when."""
    known = step_run.status == StepStatus.WAITING
    what = WaitingFor(step_run.waiting_for).label if known else "its start"
    until = "" if step_run.due_at is None else f" until {moment(step_run.due_at)}"
    return f"waiting for {what}{until}"


def describe_end(run: Run) -> str:
    """Return how a run stands, with its error or its output."""
    text = f"run {run.pk} of {run.workflow.name} is {run.status}{_though(run)}"
    if run.error:
        step = f" at step {run.step}" if run.step else ""
        kind = f"{run.error_type}: " if run.error_type else ""
        return f"{text}{step}: {kind}{cut(run.error)}"
    return text if run.output is None else f"{text}: {show_value(run.output)}"


def show_value(value: Any) -> str:
    """Return a stored value on one line, cut where it is long."""
    return cut(json.dumps(value, ensure_ascii=False))


def cut(text: str) -> str:
    """Return a text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else f"{line[: LONGEST_VALUE - 1]}…"


def moment(at: datetime) -> str:
    """Return a time in the project's time zone, to the second."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def _though(run: Run) -> str:
    failed = read_failed_steps([run]).get(run.pk) if run.status == RunStatus.DONE else None
    return f", though these steps failed: {cut(', '.join(failed))}" if failed else ""


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "why", "" if run.is_final else why(read_facts(run, database_now(run._state.db or "default")))
    yield "key", run.key or ""
    yield "started by", "" if run.triggered_by is None else str(run.triggered_by)
    yield "source", run.source
    yield "created", moment(run.created_at)
    yield "finished", "" if run.finished_at is None else moment(run.finished_at)
    yield "deadline", "" if run.deadline is None else moment(run.deadline)
    yield "input", show_value(run.input)
    yield "state", show_value(run.state)
    yield "output", "" if run.output is None else show_value(run.output)
    yield "error", cut(f"{run.error_type}: {run.error}") if run.error_type else cut(run.error)


def _when(step_run: StepRun) -> str:
    return moment(step_run.finished_at or step_run.started_at or step_run.created_at)


def _duration(step_run: StepRun) -> str:
    if step_run.started_at is None or step_run.finished_at is None:
        return ""
    return f"{(step_run.finished_at - step_run.started_at).total_seconds():.3f} s"


def _result(step_run: StepRun) -> str:
    if step_run.status in (StepStatus.WAITING, StepStatus.PENDING):
        return describe_wait(step_run)
    if step_run.error:
        return cut(f"{step_run.error_type}: {step_run.error}")
    return "" if step_run.output is None else show_value(step_run.output)


def _step_as_json(step_run: StepRun) -> dict[str, Any]:
    times = {name: _iso(getattr(step_run, name)) for name in (*_TIMES, "due_at")}
    return {**{name: getattr(step_run, name) for name in _STEP_FIELDS}, **times, "logs": step_run.logs or []}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
