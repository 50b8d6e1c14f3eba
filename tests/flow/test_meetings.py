"""Two do the same at once, or the opposite: both come to an end, and it counts once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_workflow import StepContext, cancel_run, define, retry_run, send_event, trigger
from django_workflow.engine import callers
from django_workflow.engine.now import database_now, set_clock
from django_workflow.engine.send import wake_unheard
from django_workflow.engine.telling import run_ended
from django_workflow.engine.tick import tick
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Event, Run, StepRun
from django_workflow.status import FINAL_RUN
from tests.support.meeting import meetings
from tests.support.runs import fresh, history, in_threads, notes, step_run, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
CALL = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}}
NEVER = {"name": "never", "type": "flow.wait", "with": {"event": "never"}}
AFTER = {"name": "after", "type": "tests.note"}
CLOCKS = 4


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Demand that nothing broke behind a commit, where errors are only logged."""
    caplog.set_level(logging.ERROR)
    yield
    broken = [record.getMessage() for record in caplog.get_records("call") if record.exc_info]
    assert broken == []


def start_family() -> tuple[Run, Run]:
    """Return a run that waits for another, and that other."""
    parent = trigger("flow")
    return parent, Run.objects.get(parent__run=parent)


def demand_final(*runs: Run) -> None:
    for run in runs:
        assert fresh(run).status in FINAL_RUN, history(run)
        assert not step_runs(run).live().exists(), history(run)


@pytest.mark.parametrize("cancel_stops", [True, False], ids=["cancel stops", "end stops"])
def test_child_that_ends_while_its_parent_is_being_cancelled(cancel_stops: bool) -> None:
    define("child", steps=[WAIT])
    define("flow", steps=[CALL, NEVER])
    seen = set()
    for meeting in meetings():
        parent, child = start_family()
        acts = (partial(cancel_run, parent), partial(send_event, child, "go"))
        meeting.hold(*(acts if cancel_stops else reversed(acts)))
        demand_final(parent, child)
        assert fresh(parent).status == "cancelled"
        seen.add(fresh(child).status)
    assert seen <= {"done", "cancelled"}


def test_retry_of_a_parent_and_of_its_child_at_once(register: Callable[..., Any]) -> None:
    @register("tests.broken_at_first")
    def break_at_first(context: StepContext) -> str:
        if not Note.objects.get_or_create(text="broken", key=str(context.run_id))[1]:
            return "mended"
        raise ValueError("broken")

    define("child", steps=[{"type": "tests.broken_at_first"}])
    define("flow", steps=[CALL, AFTER])
    for meeting in meetings():
        parent, child = start_family()
        assert fresh(parent).status == fresh(child).status == "failed"
        meeting.hold(partial(do_or_be_late, retry_run, parent), partial(do_or_be_late, retry_run, child))
        demand_final(parent, child)
        assert fresh(parent).status == "done", history(parent)
        assert Run.objects.filter(parent__run=parent).count() == 1


def do_or_be_late(verb: Callable[[Run], object], run: Run) -> None:
    """Do the verb, where the other was not faster."""
    with suppress(VerbRefused):
        verb(run)


def test_cancel_of_a_child_by_a_person_and_by_its_parent() -> None:
    define("child", steps=[WAIT])
    define("flow", steps=[CALL, NEVER])
    for meeting in meetings():
        parent, child = start_family()
        meeting.hold(partial(do_or_be_late, cancel_run, parent), partial(do_or_be_late, cancel_run, child))
        demand_final(parent, child)
        assert fresh(child).status == "cancelled"
        assert fresh(parent).status in {"cancelled", "failed"}


@pytest.fixture
def held() -> Iterator[None]:
    """Hold the clock."""
    set_clock(timezone.now())
    yield
    set_clock(None)


def test_many_clocks_fire_each_timer_once(held: None) -> None:
    nap = {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}}
    late = {**WAIT, "needs": [], "timeout": "1h", "on_error": {"WaitTimeout": "late"}}
    jump = {"name": "late", "type": "tests.note", "needs": "jump"}
    define("flow", steps=[nap, AFTER, late, jump])
    runs = [trigger("flow") for _ in range(8)]
    set_clock(database_now("default") + timedelta(hours=2))
    in_threads(*[partial(tick, "default", is_stopping=lambda: False)] * CLOCKS)
    demand_final(*runs)
    assert sorted(notes()) == ["after"] * 8 + ["late"] * 8
    assert not StepRun.objects.filter(crashes__gt=0).exists()


@pytest.mark.parametrize("by_key", [True, False], ids=["by key", "by run"])
def test_one_event_sent_by_many_at_once_counts_once(by_key: bool) -> None:
    define("flow", steps=[WAIT, AFTER, {**WAIT, "name": "again"}])
    for number in range(6):
        run = trigger("flow", key=f"{number}")
        to: Any = ("flow", f"{number}") if by_key else run
        sent = in_threads(*[partial(send_event, to, "go", id="e1")] * CLOCKS)
        assert sent == [True] * CLOCKS
        assert Event.objects.filter(run=run).count() == 1
        wake_unheard("default")
        assert history(run) == ["wait:done", "after:done", "again:waiting"]


@pytest.mark.parametrize("early", [True, False], ids=["before the run", "with the run"])
def test_event_by_key_that_meets_the_start_of_its_run_is_not_lost(early: bool) -> None:
    define("flow", steps=[WAIT, AFTER])
    for number, meeting in enumerate(meetings()):
        acts: list[Callable[[], object]] = [
            partial(send_event, ("flow", f"{number}"), "go", 1, id="e1"),
            partial(trigger, "flow", key=f"{number}"),
        ]
        meeting.hold(*(acts if early else reversed(acts)))
        run = Run.objects.get(key=f"{number}")
        if not fresh(run).is_final:
            Event.objects.update(at=timezone.now() - timedelta(seconds=5))
            tick("default", is_stopping=lambda: False)
        assert fresh(run).output_of("wait") == {"event": "go", "payload": 1}
        demand_final(run)


def test_many_clocks_repeat_the_wake_of_an_event_once() -> None:
    define("flow", steps=[WAIT, AFTER, {**WAIT, "name": "again"}])
    runs = [trigger("flow") for _ in range(6)]
    long_ago = timezone.now() - timedelta(seconds=5)
    Event.objects.bulk_create([Event(run=run, name="go", at=long_ago) for run in runs])
    in_threads(*[partial(wake_unheard, "default")] * CLOCKS)
    for run in runs:
        assert history(run) == ["wait:done", "after:done", "again:waiting"]
    assert len(notes()) == 6


def test_many_clocks_repeat_the_end_of_a_child_once(monkeypatch: pytest.MonkeyPatch) -> None:
    define("child", steps=[WAIT])
    define("flow", steps=[CALL, AFTER])
    families = [start_family() for _ in range(6)]
    run_ended.disconnect(dispatch_uid="django_workflow.callers.up")
    try:
        for _, child in families:
            send_event(child, "go")
    finally:
        callers.connect()
    assert {step_run(parent, "call").waiting_for for parent, _ in families} == {"child"}
    monkeypatch.setattr(callers, "EVERY", 0.0)
    in_threads(*[partial(callers.repeat, "default")] * CLOCKS)
    for parent, child in families:
        demand_final(parent, child)
        assert history(parent) == ["call:done", "after:done"]
    assert len(notes()) == 6
