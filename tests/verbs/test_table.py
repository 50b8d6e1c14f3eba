"""Every verb in every status: what the run is then, or why it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import send_event
from django_workflow.exceptions import VerbRefused
from django_workflow.models import Run, RunAction
from tests.support.runs import fresh
from tests.support.states import BUILD, run_in
from tests.support.verb_table import ALLOWED, REFUSED, TABLE, VERBS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("verb", TABLE)
def test_the_table_has_every_status(verb: str) -> None:
    assert set(TABLE[verb]) == set(BUILD)


@pytest.mark.parametrize(("verb", "state", "then"), ALLOWED)
def test_a_verb_that_the_status_allows_is_done_and_noted(verb: str, state: str, then: str) -> None:
    run = run_in(state)
    VERBS[verb](run, note="why")
    assert fresh(run).status == then
    assert list(run.actions.values_list("verb", "note")) == [(verb, "why")]


@pytest.mark.parametrize(("verb", "state", "why"), REFUSED)
def test_a_verb_that_the_status_does_not_allow_says_why_and_changes_nothing(
    verb: str, state: str, why: str
) -> None:
    run = run_in(state)
    before = (_facts(run), list(run.step_runs.order_by("pk").values()))
    with pytest.raises(VerbRefused, match=why.strip("()")) as refused:
        VERBS[verb](run)
    assert str(run.pk) in str(refused.value)
    assert (_facts(run), list(run.step_runs.order_by("pk").values())) == before
    assert (Run.objects.count(), RunAction.objects.count()) == (1, 0)


@pytest.mark.parametrize("state", BUILD)
def test_an_event_is_taken_by_every_run_that_is_not_final(state: str) -> None:
    run = run_in(state)
    assert send_event(run, "paid") == (not run.is_final)


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_was_deleted_meanwhile_is_refused(verb: str) -> None:
    run = run_in("waiting")
    Run.objects.all().delete()
    with pytest.raises(VerbRefused, match="does not exist any more"):
        VERBS[verb](run)


def _facts(run: Run) -> dict[str, Any]:
    return Run.objects.filter(pk=run.pk).values().get()


@pytest.mark.parametrize("given", [("w",), (), ("w", "key", "more"), ("w", 5)])
@pytest.mark.parametrize("verb", [*VERBS.values(), lambda run: send_event(run, "paid")])
def test_a_run_that_is_named_in_no_known_way_is_refused(verb: Callable[..., Any], given: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a Run, its id, or \(workflow name, key\)"):
        verb(given)
