"""A process that dies after a given commit, what clocks and workers make of it, and what is there then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connections

from django_workflow import process
from django_workflow.engine.now import database_now, set_clock
from django_workflow.engine.recover import recover_worker
from django_workflow.engine.tick import tick
from django_workflow.engine.who import worker_name
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
    """What people and time do to runs, in this order. An act that died without a trace is done again."""

    define: Act
    acts: Sequence[Act]


class Fate:
    """The lives of the processes of one telling, one after the other."""

    def __init__(self, *, ends: Iterable[int] = ()) -> None:
        """Let the first process die after so many commits, the next after so many, and so on."""
        self._ends = iter(ends)
        self._left = next(self._ends, None)
        self.commits = 0
        self.deaths = 0

    @contextmanager
    def process(self) -> Iterator[Life]:
        """Let the body be a process."""
        life = Life(ends_after=self._left)
        with living(life):
            yield life
        self.commits += life.commits
        if life.is_over:
            self.deaths += 1
            self._left = next(self._ends, None)
        elif self._left is not None:
            self._left -= life.commits


def time_passes(*, hours: float) -> None:
    """An act: so many hours go by, and then a clock looks."""
    set_clock(database_now("default") + timedelta(hours=hours))


def tell(story: Story, fate: Fate) -> None:
    """Do the acts, each by a process of its own, and what clocks do when one has died, and in the end."""
    for act in story.acts:
        if isinstance(act, partial) and act.func is time_passes:
            act()
            continue
        before = _asked_for()
        while not _do(act, fate):
            is_asked_for = _asked_for() != before
            recover(fate)
            if is_asked_for:
                break
    recover(fate)


def _do(act: Act, fate: Fate) -> bool:
    with fate.process() as life:
        act()
    return not life.is_over


def _asked_for() -> list[int]:
    """Return how much people have asked for: who finds it there when his process has died asks no more."""
    asked = (Run.objects.filter(parent=None), Event.objects, RunAction.objects)
    return [each.count() for each in asked]


def recover(fate: Fate) -> None:
    """Do what clocks do after a process is known to be dead, until nothing moves. They may die, too."""
    for _ in range(500):
        set_clock(database_now("default") + timedelta(seconds=5))
        process.forget()
        moved = 0
        with fate.process() as life:
            moved = recover_worker("default", worker_name()) + tick("default", is_stopping=lambda: False)
        if not life.is_over and not moved:
            return
    raise AssertionError("it moves for ever")


@dataclass(slots=True, kw_only=True)
class Portrait:
    """All that is there in the end, without the ids and times that differ from life to life."""

    runs: list[Any]
    steps: list[Any]
    events: list[Any]
    actions: list[Any]
    written_atomically: list[str]


def portray() -> Portrait:
    """Return what is there: runs, step runs, events, verbs, and what atomic steps wrote."""
    runs = Run.objects.order_by("workflow__name", "key", "pk").values_list(
        "workflow__name", "key", "status", "ending", "state", "output", "error_type"
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
        # An alarm's state names the run that failed, by its id.
        runs=[(*run[:4], {**run[4], "run": None}, *run[5:]) for run in runs],
        steps=sorted(steps, key=str),
        events=list(events),
        actions=sorted(RunAction.objects.values_list("run__workflow__name", "verb", "step")),
        written_atomically=sorted(Note.objects.exclude(key=None).values_list("text", flat=True)),
    )


def delete_runs() -> None:
    """Delete the runs and what they left, the workflows not."""
    StepRun.objects.update(child=None, undoes=None)
    for model in (Event, RunAction, StepRun, Run, Note):
        model.objects.all().delete()
