"""The real engine, driven one step at a time: a worker that claims and records what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Self
from uuid import UUID

from django_workflow import (
    End,
    Goto,
    Sleep,
    StepContext,
    WaitForEvent,
    cancel_run,
    define,
    pause_run,
    resume_run,
    retry_run,
    send_event,
    skip_step,
    step,
    trigger,
    undo_run,
)
from django_workflow.definition.spec import WorkflowSpec
from django_workflow.definition.writing import write_definition
from django_workflow.engine.claim import Claim, claim_due
from django_workflow.engine.driving import loop
from django_workflow.engine.judge import check_definition
from django_workflow.engine.leases import without_keeper
from django_workflow.engine.now import held_clock, set_clock
from django_workflow.engine.single import execute
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, StepRun
from tests.reference.definitions import DELAY, LISTS, UNDO_RETRY, WAIT_TIMEOUT, FlowScript, Naps, Waits
from tests.reference.rows import Key
from tests.support.definitions import Raises

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PAST = datetime(2029, 1, 1, tzinfo=UTC)
KEY = ("step", "visit", "index", "attempt")
MOMENT = timedelta(milliseconds=1)
CHILD = [{"name": "work", "type": "tests.be_called"}]
VERBS: Mapping[str, Callable[..., Any]] = {
    "cancel": cancel_run,
    "pause": pause_run,
    "resume": resume_run,
    "retry": retry_run,
    "undo": undo_run,
    "skip": lambda run, name: skip_step(run, name, "given"),
}

_names = count()
_scripts: list[FlowScript] = []
_ends: list[str] = []


@step("tests.play")
def play(context: StepContext) -> Any:
    """Do what the script says of this call."""
    index = -1 if context.index is None else context.index
    key = (context.step, context.visit, index, context.attempt)
    calls = StepRun.objects.filter(pk=context.step_run_id).values_list("logs", flat=True).get() or ()
    context.log("called")
    item = f"[{index}]" if index >= 0 else ""
    event = context.event
    woken = f" {event.name} {event.payload}" if event else ""
    text = f"{context.step}{item} {context.visit}.{context.attempt}{woken}"
    match _scripts[-1].known[key, len(calls) + 1]:
        case Raises(error):
            raise error
        case Naps():
            return Sleep(DELAY)
        case Waits(names, is_shared, has_limit):
            return WaitForEvent(names, WAIT_TIMEOUT if has_limit else None, shared=is_shared)
        case Goto(target):
            return Goto(target, text)
        case End(output):
            return End(output)
    return text


step("tests.play_undo", retry=UNDO_RETRY)(play)


@step("tests.be_called")
def be_called(context: StepContext) -> Any:
    """Sleep until the world outside says how the called run ends."""
    if context.event is None:
        return Sleep(DELAY)
    if _ends.pop() == "failed":
        raise ValueError("told to fail")
    return "child"


def is_valid(spec: WorkflowSpec) -> bool:
    """Return whether the definition can be published: each of its steps can be reached."""
    _spec, problems = check_definition(write_definition(spec))
    return all(problem.level == "warning" for problem in problems)


class EngineRun:
    """A run of ``spec`` in the database. Nothing of it moves by itself."""

    def __init__(self, spec: WorkflowSpec, script: FlowScript) -> None:
        self.spec = replace(spec, name=f"flow-{next(_names)}")
        self.script = script
        self.held: dict[Key, Claim] = {}
        self.now = NOW
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        self._leaving.enter_context(held_clock(NOW))
        self._leaving.enter_context(without_keeper())
        # What is handed over inline joins this loop, which never goes on.
        self._leaving.enter_context(loop())
        _scripts.append(self.script)
        self._leaving.callback(_scripts.pop)
        define("child", steps=CHILD)
        data = write_definition(self.spec)
        define(**{name: value for name, value in data.items() if name != "format"})
        self.pk: UUID = trigger(self.spec.name, {name: [7] * length for name, length in LISTS.items()}).pk
        return self

    def __exit__(self, *error: object) -> None:
        self._leaving.close()

    # What can be asked

    @property
    def run(self) -> Run:
        """The run as it is in the database."""
        return Run.objects.select_related("workflow").get(pk=self.pk)

    def read(self, *fields: str) -> tuple[Any, ...]:
        """Return fields of the run as they are in the database."""
        return Run.objects.values_list(*fields).get(pk=self.pk)

    def read_rows(self, *fields: str) -> list[tuple[Key, tuple[Any, ...]]]:
        """Return fields of its step runs, by their keys."""
        rows = StepRun.objects.filter(run=self.pk).order_by().values_list(*KEY, *fields)
        return [(row[:4], row[4:]) for row in rows]

    def read_children(self) -> list[str]:
        """Return the statuses of the runs that it called, oldest first."""
        return list(Run.objects.filter(parent__run=self.pk).order_by("pk").values_list("status", flat=True))

    @property
    def children(self) -> list[Run]:
        """The runs that it called, oldest first."""
        return list(Run.objects.filter(parent__run=self.pk).order_by("pk"))

    # What can happen

    def tick(self) -> None:
        """Let a moment pass, so that what happens now is later than what happened before."""
        self.now += MOMENT
        set_clock(self.now)

    def begin(self, key: Key) -> None:
        """Claim the row with that key, whose time has come if it waits for that."""
        row = StepRun.objects.get(run=self.pk, **dict(zip(KEY, key, strict=True)))
        row.due_at = PAST
        is_told = row.awaits and "events" in row.awaits and self._is_told(key)
        if row.awaits and row.awaits["until"] and not is_told:
            row.awaits["until"] = PAST.isoformat()
        row.save()
        (claim,) = claim_due("default", run_id=self.pk)
        assert claim.step_run.pk == row.pk
        self.held[key] = claim

    def record(self, key: Key) -> None:
        """Execute what was claimed, and record what came of it."""
        claim = self.held.pop(key)
        claim.run.state = {**claim.run.state, "ready": not self.script.refused.get(key[:2], False)}
        following = execute(claim, keep=lambda: False)
        assert following is None
        self._tend_children()

    def apply(self, verb: str, *arguments: Any) -> bool:
        """Do what an operator asks for; return False where it is refused."""
        try:
            VERBS[verb](self.run, *arguments)
        except VerbRefused:
            return False
        self._tend_children()
        return True

    def send(self, name: str, place: int) -> bool:
        """Send an event whose payload is its place among all of them."""
        return send_event(self.run, name, place)

    def end_child(self, place: int, status: str) -> None:
        """Let a called run come to its end."""
        child = self.children[place]
        if status == "cancelled":
            cancel_run(child)
            return
        StepRun.objects.filter(run=child, waiting_for="timer").update(due_at=PAST)
        _ends.append(status)
        self._tend_children()

    def _is_told(self, key: Key) -> bool:
        waits = [result for (of, _call), result in self.script.known.items() if of == key]
        return isinstance(waits[-1], Waits) and waits[-1].has_limit

    def _tend_children(self) -> None:
        """Let the called runs do what is ready in them."""
        for child in self.children:
            while claims := claim_due("default", run_id=child.pk):
                execute(claims[0], keep=lambda: False)
