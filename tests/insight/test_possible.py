"""What the page says of a verb is what the engine does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.utils import timezone

from django_workflow import restart_run, send_event, skip_step, trigger, undo_run
from django_workflow.exceptions import VerbRefused
from django_workflow.insight.facts import read_facts
from django_workflow.insight.possible import steps_to_skip, why_not
from django_workflow.models import Run, Workflow
from django_workflow.status import FINAL_RUN
from tests.support import steps_for_tests, verb_table  # noqa: F401 – registers them
from tests.support.runs import fresh, start
from tests.support.states import STATUS, run_in

pytestmark = pytest.mark.django_db(transaction=True)


def _skip(run: Run) -> Run:
    steps = steps_to_skip(read_facts(run, timezone.now()))
    return skip_step(run, steps[0].step if steps else "work")


def _send(run: Run) -> None:
    if not send_event(run, "paid"):
        raise VerbRefused("the run is final")


VERBS: Mapping[str, Callable[[Run], Any]] = {**verb_table.VERBS, "skip": _skip, "event": _send}
# Verb, status, and whether the engine does it; an event is taken by every run that is not final.
CASES = [(verb, state, not then.startswith("(")) for verb, state, then in verb_table.CASES]
CASES += [("event", state, status not in FINAL_RUN) for state, status in STATUS.items()]


def reason(verb: str, run: Run) -> str:
    return why_not(verb, read_facts(fresh(run), timezone.now()))


def is_done(verb: str, run: Run) -> bool:
    try:
        VERBS[verb](run)
    except VerbRefused:
        return False
    return True


@pytest.mark.parametrize(("verb", "state", "is_allowed"), CASES)
def test_a_verb_is_offered_where_the_engine_does_it(verb: str, state: str, is_allowed: bool) -> None:
    run = run_in(state)
    told = reason(verb, run)
    assert bool(told) != is_allowed, told
    assert is_done(verb, run) == is_allowed


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_was_restarted_with_its_steps_is_over_for_good(verb: str) -> None:
    failed = start(
        [{"name": "work", "type": "tests.echo"}, {"name": "broken", "type": "tests.fail"}], on_failure="undo"
    )
    run = start([{"name": "work", "type": "tests.echo"}, {"name": "broken", "type": "tests.fail"}])
    restart_run(run, from_step="broken")
    for each in (run, failed):
        told = reason(verb, each)
        assert bool(told) != is_done(verb, each), told


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_never_began(verb: str) -> None:
    run = start([{"name": "work", "type": "tests.echo"}])
    Workflow.objects.update(enabled=False)
    born = trigger("flow")
    assert born.status == "cancelled"
    for each in (born, run):
        told = reason(verb, each)
        assert bool(told) != is_done(verb, each), told


def test_a_failed_undo_can_be_skipped_and_tried_again() -> None:
    steps = [
        {"name": "work", "type": "tests.echo", "undo": {"type": "tests.fail"}},
        {"name": "broken", "type": "tests.fail"},
    ]
    for verb in ("undo", "skip"):
        run = start(steps, on_failure="undo")
        assert [row.step for row in steps_to_skip(read_facts(run, timezone.now()))][-1] == "work:undo"
        assert not reason(verb, run)
        if verb == "skip":
            skip_step(run, "work:undo")
            assert reason("undo", run) == "Everything is undone already."
        else:
            undo_run(run)
