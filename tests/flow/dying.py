"""A process that dies after a given commit, what a clock and a worker make of it, and what is there in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import F

from django_workflow.engine import callers, stuck
from django_workflow.engine.recover import recover_worker
from django_workflow.engine.tick import tick
from django_workflow.engine.who import worker_name
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Event, Run, RunAction, StepRun
from tests.testapp.models import Note

Act = Callable[[], object]
READS = ("SELECT", "PRAGMA", "SHOW", "EXPLAIN")


class Killed(BaseException):
    """The process is dead: no code of it goes on, so that no ``except Exception`` may catch it."""


@dataclass(slots=True, kw_only=True)
class Life:
    """How many commits this process lives for; None: for ever. ``commits`` are those it has made."""

    ends_after: int | None = None
    commits: int = 0
    is_over: bool = False

    def note_commit(self) -> None:
        """Count a commit, and die after the last."""
        self.commits += 1
        if self.commits == self.ends_after:
            self.is_over = True
            raise Killed

    def execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Execute a statement of the living; one outside of a transaction that writes is a commit."""
        if self.is_over:
            raise Killed
        result = execute(sql, params, many, context)
        in_transaction = context["connection"].in_atomic_block
        if not in_transaction and not sql.lstrip().upper().startswith((*READS, "BEGIN")):
            self.note_commit()
        return result


@contextmanager
def living(life: Life) -> Iterator[None]:
    """Let the body be a process with this life; what it held in its connection is gone with it."""
    connection: Any = connections["default"]
    commit = connection._commit

    def commit_and_count() -> None:
        if life.is_over:
            raise Killed
        commit()
        life.note_commit()

    connection._commit = commit_and_count
    try:
        with suppress(Killed), connection.execute_wrapper(life.execute):
            yield
    finally:
        del connection._commit
        if life.is_over:
            connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What people and time do to runs, in this order. An act is begun again by who saw it die.

    ``define`` makes the workflows; acts marked as ``time`` are no process's, and do not die.
    """

    define: Act
    acts: Sequence[Act]
    expected: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Portrait:
    """All that is there in the end, without names and times that differ from life to life."""

    runs: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    written_atomically: list[str] = field(default_factory=list)


def time_passes(*, hours: float) -> Act:
    """Return an act: so many hours go by, and nobody does anything."""

    def pass_time() -> None:
        for row in StepRun.objects.live().filter(due_at__isnull=False):
            row.due_at -= timedelta(hours=hours)
            if row.awaits and row.awaits.get("until"):
                until = row.created_at - timedelta(hours=hours)
                row.awaits = {**row.awaits, "until": until.isoformat()}
            row.save()

    pass_time.is_time = True  # type: ignore[attr-defined]
    return pass_time


def tell(story: Story, life_of: Callable[[], Life]) -> list[Life]:
    """Do the acts, each by a process with a life of its own, and what a clock does after a death."""
    lives: list[Life] = []
    for act in story.acts:
        if hasattr(act, "is_time"):
            act()
            continue
        is_done = False
        while not is_done:
            lives.append(life := life_of())
            with living(life), suppress(VerbRefused):
                act()
                is_done = True
            is_done = is_done or not life.is_over
            if life.is_over:
                recover(lives, life_of)
    return lives


def recover(lives: list[Life], life_of: Callable[[], Life]) -> None:
    """Do what clocks do after a process is known to be dead, until nothing moves. They may die, too."""
    for _ in range(500):
        Event.objects.filter(is_new=True).update(at=F("at") - timedelta(minutes=1))
        callers._swept.clear()
        stuck._swept.clear()
        stuck._tried.clear()
        lives.append(life := life_of())
        moved = 0
        with living(life):
            moved = recover_worker("default", worker_name()) + tick("default", is_stopping=lambda: False)
        if not life.is_over and not moved:
            return
    raise AssertionError("it moves for ever")


def portray() -> Portrait:
    """Return what is there: runs, step runs, events, verbs, and what atomic steps wrote."""
    runs = Run.objects.order_by("workflow__name", "key", "pk").values_list(
        "workflow__name", "key", "status", "ending", "step", "state", "output", "error_type"
    )
    steps = StepRun.objects.values_list(
        "run__workflow__name",
        "run__key",
        "step",
        "visit",
        "index",
        "attempt",
        "status",
        "waiting_for",
        "current",
        "handled",
        "error_type",
        "lease_token",
    )
    events = Event.objects.order_by("pk").values_list("name", "payload", "taken_by__step", "is_new")
    return Portrait(
        runs=list(runs),
        steps=sorted(steps, key=str),
        events=list(events),
        actions=sorted(RunAction.objects.values_list("run__workflow__name", "verb", "step")),
        written_atomically=sorted(Note.objects.exclude(key=None).values_list("key", flat=True)),
    )


def forget() -> None:
    """Delete the runs and what they left, the workflows not."""
    StepRun.objects.update(child=None, undoes=None)
    for model in (Event, RunAction, StepRun, Run, Note):
        model.objects.all().delete()
