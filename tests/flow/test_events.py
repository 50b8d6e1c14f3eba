"""Events: stored first, taken once, by whoever has waited longest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_workflow import (
    StepContext,
    WaitForEvent,
    WorkflowNotFound,
    cancel_run,
    define,
    retry_run,
    send_event,
    trigger,
)
from django_workflow.engine.execute import work
from django_workflow.engine.give_back import give_back
from django_workflow.engine.send import wake, wake_unheard
from django_workflow.exceptions import TooLarge
from django_workflow.models import Event
from tests.support.one_by_one import claim_all, execute_alone
from tests.support.runs import fresh, history, let_time_pass, silent_commit, start, step_run, step_runs
from tests.support.waiting import forward

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "paid"}}


def test_event_wakes_the_step_that_waits_for_it() -> None:
    run = start(
        [WAIT, {"name": "after", "type": "tests.echo", "with": {"value": "{{ steps.wait.payload.amount }}"}}]
    )
    assert fresh(run).status == "waiting"
    row = step_run(run, "wait")
    assert (row.waiting_for, row.due_at) == ("event", None)

    assert send_event(run, "paid", {"amount": 12}) is True

    run = fresh(run)
    assert run.status == "done"
    assert run.output_of("wait") == {"event": "paid", "payload": {"amount": 12}}
    assert run.output_of("after") == 12


def test_event_that_comes_before_the_wait_is_not_lost() -> None:
    run = start([{"name": "first", "type": "tests.echo", "delay": "1h"}, WAIT])
    assert send_event(run, "paid", 1) is True
    assert fresh(run).status == "pending"
    assert let_time_pass(run).output_of("wait") == {"event": "paid", "payload": 1}


def test_step_that_an_event_has_woken_has_begun_also_when_its_claim_is_given_back() -> None:
    either = {**WAIT, "needs": ["note", "nap"], "join": "any"}
    run = start(
        [
            {"name": "note", "type": "tests.note", "needs": []},
            {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}, "needs": [], "next": "goal"},
            either,
            {"name": "goal", "type": "tests.note", "needs": "jump"},
        ]
    )
    with silent_commit():
        send_event(run, "paid", 7)
        wake("default", run.pk)
    step_runs(run).filter(step="nap").update(due_at=timezone.now() - timedelta(minutes=1))
    claims = claim_all(run)
    waiting = claims["wait"]
    assert give_back("default", run.pk, waiting.step_run.pk, waiting.token)
    # The jump passes by what has not begun.
    execute_alone(claims["nap"])
    work("default")
    assert (fresh(run).status, run.output_of("wait")) == ("done", {"event": "paid", "payload": 7})


def test_event_of_another_name_is_kept_and_wakes_nobody() -> None:
    run = start([WAIT])
    send_event(run, "refused")
    assert fresh(run).status == "waiting"
    assert Event.objects.get().taken_by is None


def test_first_of_several_events_wins() -> None:
    run = start([{"name": "wait", "type": "flow.wait", "with": {"event": ["paid", "refused"]}}])
    send_event(run, "refused", "card")
    send_event(run, "paid")
    assert fresh(run).output_of("wait") == {"event": "refused", "payload": "card"}


def test_the_same_id_counts_once() -> None:
    steps = [WAIT, {"name": "again", "type": "flow.wait", "with": {"event": "paid"}}]
    run = start(steps)
    assert [send_event(run, "paid", number, id="e1") for number in range(3)] == [True] * 3
    run = fresh(run)
    assert run.status == "waiting"
    assert run.output_of("wait")["payload"] == 0
    assert Event.objects.count() == 1


@pytest.mark.parametrize("as_id", [True, False])
def test_run_is_named_by_id_or_by_key(as_id: bool) -> None:
    define("flow", steps=[WAIT])
    run = trigger("flow", key="k")
    assert send_event(run.pk if as_id else ("flow", "k"), "paid") is True
    assert fresh(run).status == "done"


def test_event_for_a_key_without_a_run_is_found_when_that_run_waits() -> None:
    define("flow", steps=[WAIT])
    assert send_event(("flow", "k"), "paid", "early", id="e1") is True
    run = trigger("flow", key="k")
    assert fresh(run).output_of("wait") == {"event": "paid", "payload": "early"}


def test_event_that_came_by_key_counts_once_also_when_it_comes_again_to_the_run() -> None:
    define(
        "flow",
        steps=[{"name": "first", "type": "tests.echo", "delay": "1h"}, WAIT, {**WAIT, "name": "again"}],
    )
    send_event(("flow", "k"), "paid", 1, id="e1")
    run = trigger("flow", key="k")
    send_event(run, "paid", 2, id="e1")
    run = let_time_pass(run)
    assert run.status == "waiting"
    assert run.output_of("wait")["payload"] == 1


def test_event_to_a_final_run_is_false_and_stores_nothing() -> None:
    run = cancel_run(start([WAIT]))
    assert send_event(run, "paid") is False
    assert not Event.objects.exists()


def test_event_to_nobody_is_an_error() -> None:
    define("flow", steps=[WAIT])
    with pytest.raises(WorkflowNotFound):
        send_event(("nothing", "k"), "paid")
    with pytest.raises(WorkflowNotFound):
        send_event("00000000-0000-0000-0000-000000000000", "paid")


@pytest.mark.parametrize("name", ["", "x" * 256, "nul\0", 7])
def test_name_of_an_event_is_short_text(name: object) -> None:
    with pytest.raises(ValueError, match="name is text"):
        send_event(start([WAIT]), name)  # type: ignore[arg-type]


def test_event_of_a_transaction_that_is_rolled_back_was_never_sent() -> None:
    run = start([WAIT])
    with transaction.atomic():
        send_event(run, "paid")
        transaction.set_rollback(True)
    assert fresh(run).status == "waiting"
    assert not Event.objects.exists()


def test_clock_hears_an_event_that_its_sender_could_not_tell_of() -> None:
    run = start([WAIT])
    Event.objects.create(run=run, name="paid", at=timezone.now() - timedelta(seconds=5))
    assert wake_unheard("default") == 1
    assert fresh(run).status == "done"
    assert wake_unheard("default") == 0


def test_event_goes_to_the_step_that_has_waited_longest() -> None:
    run = start([WAIT, {"name": "other", "type": "flow.wait", "needs": [], "with": {"event": "paid"}}])
    send_event(run, "paid", 1)
    assert history(fresh(run)) == ["wait:done", "other:waiting"]
    send_event(run, "paid", 2)
    assert fresh(run).output_of("other")["payload"] == 2


def test_shared_waits_all_read_one_event() -> None:
    shared = {"event": "open", "shared": True}
    run = start(
        [
            {"name": "a", "type": "flow.wait", "needs": [], "with": shared},
            {"name": "b", "type": "flow.wait", "needs": [], "with": shared},
            {"name": "c", "type": "flow.wait", "needs": ["a"], "with": shared},
        ]
    )
    send_event(run, "open", 1)
    run = fresh(run)
    assert run.status == "done"
    assert [run.output_of(name)["payload"] for name in "abc"] == [1, 1, 1]


def test_shared_wait_in_a_loop_reads_each_event_once() -> None:
    shared = {"event": "open", "shared": True}
    steps = [{"name": "wait", "type": "flow.wait", "with": shared, "next": "wait"}]
    run = start(steps, max_visits=5)
    send_event(run, "open", 1)
    run = fresh(run)
    assert run.status == "waiting"
    assert history(run) == ["wait:done", "wait:waiting"]


def test_wait_past_its_timeout_fails_with_its_own_error_path() -> None:
    steps = [
        {**WAIT, "timeout": "1h", "on_error": {"WaitTimeout": "remind"}},
        {"name": "remind", "type": "tests.echo", "needs": "jump", "with": {"value": "{{ error.type }}"}},
    ]
    run = start(steps)
    assert step_run(run, "wait").due_at is not None
    forward(run, hours=2)
    run = fresh(run)
    assert run.status == "done"
    assert run.output_of("remind") == "django_workflow.exceptions.WaitTimeout"


def test_event_recorded_before_the_deadline_is_taken_up_counts() -> None:
    run = start([{**WAIT, "timeout": "1h"}])
    Event.objects.create(run=run, name="paid", payload="late", at=timezone.now(), is_new=False)
    forward(run, hours=2)
    assert fresh(run).output_of("wait") == {"event": "paid", "payload": "late"}


def test_handler_that_waits_is_told_of_event_or_timeout(register: Callable[..., Any]) -> None:
    @register("tests.waits")
    def wait(context: StepContext) -> Any:
        if context.event is None:
            return WaitForEvent("paid", timeout=timedelta(hours=1))
        return [context.event.name, context.event.payload, context.attempt]

    run = start([{"name": "wait", "type": "tests.waits", "timeout": "2h"}])
    forward(run, hours=1.5)
    assert fresh(run).output_of("wait") == ["timeout", None, 1]
    other = start([{"name": "wait", "type": "tests.waits"}])
    send_event(other, "paid", {"a": 1})
    assert fresh(other).output_of("wait") == ["paid", {"a": 1}, 1]


@pytest.fixture
def picky(register: Callable[..., Any]) -> None:
    """Register a handler that fails by the payload ``bad``."""

    @register("tests.picky")
    def wait(context: StepContext, shared: bool = False, requeue: bool = False) -> Any:
        if context.event is None:
            return WaitForEvent("paid", shared=shared, requeue=requeue)
        if context.event.payload == "bad":
            raise ValueError(context.event.payload)
        return [context.event.payload, context.attempt]


@pytest.mark.parametrize("shared", [False, True])
def test_an_attempt_that_fails_by_an_event_may_use_it_up(picky: None, shared: bool) -> None:
    run = start([{"type": "tests.picky", "with": {"shared": shared}, "retry": {"attempts": 3}}])
    send_event(run, "paid", "bad")
    run = let_time_pass(run)
    assert (run.status, history(run)) == ("waiting", ["tests_picky:failed", "tests_picky:waiting"])
    send_event(run, "paid", "bad")
    send_event(run, "paid", "good")
    assert let_time_pass(run).output == ["good", 3]


@pytest.mark.parametrize("shared", [False, True])
def test_a_person_s_retry_waits_for_a_new_event_where_the_old_one_is_used_up(
    picky: None, shared: bool
) -> None:
    run = start([{"type": "tests.picky", "with": {"shared": shared}}])
    send_event(run, "paid", "bad")
    assert retry_run(fresh(run)).status == "waiting"
    send_event(run, "paid", "good")
    assert fresh(run).output == ["good", 2]


def test_an_attempt_that_fails_by_an_event_gives_it_back_unless_told_otherwise(picky: None) -> None:
    run = start([{"type": "tests.picky", "with": {"requeue": True}, "retry": {"attempts": 2}}])
    send_event(run, "paid", "bad")
    run = let_time_pass(run)
    assert (run.status, history(run)) == ("failed", ["tests_picky:failed", "tests_picky:failed"])


def test_an_event_that_no_wait_could_give_is_refused(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 100}
    run = start([WAIT])
    with pytest.raises(TooLarge, match="payload: 1"):
        send_event(run, "paid", "x" * 95)
    send_event(run, "paid", "x" * 60)
    assert fresh(run).status == "done"


def test_an_event_is_an_action_of_its_run_whoever_sent_it() -> None:
    define("flow", steps=[{"name": "wait", "type": "flow.wait", "with": {"event": "paid"}, "next": "wait"}])
    run = trigger("flow", key="k")
    send_event(run, "paid", 1)
    send_event(("flow", "k"), "paid", 2, id="a")
    send_event(("flow", "k"), "paid", 2, id="a")
    assert list(run.actions.values_list("verb", "note", "by")) == [("event", "paid", None)] * 2
