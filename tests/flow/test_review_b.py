"""Interleavings of events, calls, undo, maps and verbs, one step of the engine at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_workflow import (
    Sleep,
    StepContext,
    WaitForEvent,
    cancel_run,
    define,
    pause_run,
    process,
    resume_run,
    retry_run,
    send_event,
    trigger,
    undo_run,
)
from django_workflow.engine import callers
from django_workflow.engine.claim import Claim, claim_due
from django_workflow.engine.execute import follow, work
from django_workflow.engine.programs import get_program
from django_workflow.engine.recover import recover_worker
from django_workflow.engine.send import wake_unheard
from django_workflow.models import Event, Run, StepRun, WorkflowVersion
from tests.support.runs import abandon, fresh, history, notes, start, step_run, step_runs
from tests.support.waiting import forward
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

Steps = Sequence[Mapping[str, Any]]
FAIL = {"name": "broken", "type": "tests.fail"}
WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "go"}}
ECHO = {"name": "echo", "type": "tests.echo", "with": {"value": 7}}
CALL = {"name": "call", "type": "flow.call", "with": {"workflow": "child"}}


def ready(steps: Steps, input: Mapping[str, Any] | None = None, **fields: Any) -> Run:
    """Return a run that is ready and claimed by nobody."""
    define("flow", steps=steps, **fields)
    with transaction.atomic():
        run = trigger("flow", input)
        connection.run_on_commit.clear()
    return run


def claim_all(run: Run) -> dict[str, Claim]:
    """Claim all that is due of a run, each alone, by the name of the step run."""
    claims = {}
    while found := claim_due("default", run_id=run.pk):
        claims |= {str(claim.step_run): claim for claim in found}
    return claims


def do(claim: Claim) -> None:
    """Execute a claimed step run, and leave what follows to others."""
    follow([claim], keep=lambda: False)


def demand_whole(run: Run) -> None:
    """Demand that the run is final without a live step, or not and has one."""
    assert step_runs(run).live().exists() == (not fresh(run).is_final), (fresh(run).status, history(run))


@pytest.fixture
def take_back(register: Callable[..., Any]) -> None:
    @register("tests.take_back")
    def take_back(context: StepContext) -> None:
        Note.objects.create(text=context.step)


@pytest.fixture
def broken(register: Callable[..., Any]) -> set[int]:
    """Return a set: while it holds something, the step ``tests.may_fail`` fails."""
    values: set[int] = set()

    @register("tests.may_fail")
    def may_fail() -> str:
        if values:
            raise ValueError("broken")
        return "worked"

    return values


UNDO = {"undo": {"type": "tests.take_back"}}


# Events


@pytest.mark.parametrize("name", ["child", "timeout", "timer", "approved", "leads_to"])
def test_event_may_have_a_name_that_the_engine_uses_too(name: str) -> None:
    run = start([{**WAIT, "with": {"event": name}, "timeout": "1h"}])
    pause_run(run)
    send_event(run, name, {"amount": 1})
    forward(run, hours=2)
    resume_run(run)
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": name, "payload": {"amount": 1}})


def test_shared_event_that_is_committed_late_is_read_though_a_younger_one_was(register) -> None:
    seen: list[Any] = []

    @register("tests.listen")
    def listen(context: StepContext) -> Any:
        if context.event is not None:
            seen.append(context.event.payload)
        return WaitForEvent("go", shared=True) if len(seen) < 2 else None

    run = start([{"name": "listen", "type": "tests.listen"}])
    early = Event(run=run, name="go", payload="early", at=timezone.now())
    send_event(run, "go", "late")
    early.save(force_insert=True)
    send_event(run, "other")
    assert (seen, fresh(run).status) == (["late", "early"], "done")


def test_event_of_a_step_that_the_ending_cancelled_is_there_for_its_retry() -> None:
    run = start(
        [{**WAIT, "needs": []}, {**WAIT, "name": "other", "needs": [], "with": {"event": "stop"}}],
        timeout="1h",
    )
    pause_run(run)
    send_event(run, "go", 1)
    assert step_run(run, "wait").status == "pending"
    Run.objects.filter(pk=run.pk).update(deadline=timezone.now() - timedelta(minutes=1))
    resume_run(run)
    assert (fresh(run).status, history(run)) == ("failed", ["wait:cancelled", "other:cancelled"])
    retry_run(run)
    send_event(run, "stop")
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": "go", "payload": 1})


@pytest.mark.parametrize("by_person", [False, True])
def test_event_of_an_attempt_that_failed_is_there_for_the_next(register, by_person: bool) -> None:
    failing = [True]

    @register("tests.charge")
    def charge(context: StepContext) -> Any:
        if context.event is None:
            return WaitForEvent("go")
        if failing:
            failing.clear()
            raise ValueError("the bank is away")
        return context.event.payload

    retry = {} if by_person else {"retry": {"attempts": 2, "delay": 0}}
    run = start([{"name": "charge", "type": "tests.charge", **retry}])
    send_event(run, "go", 5)
    if by_person:
        assert fresh(run).status == "failed"
        retry_run(run)
    run = fresh(run)
    assert (run.status, run.output_of("charge")) == ("done", 5)
    assert Event.objects.get().taken_by == step_run(run, "charge", attempt=2)


def test_event_of_a_step_that_a_jump_resets_before_it_was_told_is_there_for_the_next_visit() -> None:
    steps = [
        {**ECHO, "name": "first"},
        {**WAIT, "needs": ["first"]},
        {"name": "again", "type": "tests.goto", "needs": ["first"], "delay": "1h", "if": "steps.first == 7"},
        {**ECHO, "name": "last", "needs": ["wait"]},
    ]
    steps[2]["with"] = {"to": "wait"}
    run = start(steps)
    pause_run(run)
    send_event(run, "go", 1)
    Run.objects.filter(pk=run.pk).update(status="running")
    forward(run, hours=2)
    assert history(run)[1] == "wait:cancelled"
    run = fresh(run)
    assert (run.status, run.output_of("wait")) == ("done", {"event": "go", "payload": 1})


def test_event_outlives_a_crash_of_the_handler_that_it_woke() -> None:
    run = start([{**WAIT, "timeout": "1h"}])
    pause_run(run)
    send_event(run, "go", 1)
    Run.objects.filter(pk=run.pk).update(status="running")
    abandon(run, "wait", worker="dead")
    assert recover_worker("default", "dead") == 1
    forward(run, hours=2)
    assert fresh(run).output_of("wait") == {"event": "go", "payload": 1}


def test_event_that_is_committed_while_others_are_given_out_is_heard_by_the_clock() -> None:
    run = start([WAIT, {**WAIT, "name": "other", "needs": []}])
    done: list[bool] = []

    def send_another(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not done and sql.startswith("UPDATE") and '"is_new"' in sql:
            done.append(True)
            Event.objects.create(run=run, name="go", payload=2, at=timezone.now() - timedelta(minutes=1))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(send_another):
        send_event(run, "go", 1)
    assert done
    assert fresh(run).status == "waiting"
    wake_unheard("default")
    assert fresh(run).status == "done"


def test_event_by_key_whose_twin_comes_at_the_same_moment_fails_no_step() -> None:
    define("flow", steps=[{**ECHO, "delay": "1h"}, WAIT])
    send_event(("flow", "k"), "go", 1, id="e1")
    run = trigger("flow", key="k")
    done: list[bool] = []

    def twin(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not done and sql.startswith("UPDATE") and "event" in sql.split("SET", maxsplit=1)[0].lower():
            done.append(True)
            Event.objects.create(run=run, name="go", payload=2, event_id="e1", at=timezone.now())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(twin):
        forward(run, hours=2)
    send_event(run, "nothing")
    run = fresh(run)
    assert done
    assert (run.status, history(run)) == ("done", ["echo:done", "wait:done"])


# Maps


@pytest.fixture
def items(register: Callable[..., Any]) -> None:
    """Register a step type whose items do what they are."""
    failed: list[Any] = []

    @register("tests.item")
    def item(context: StepContext, value: str) -> Any:
        Note.objects.create(text=f"{value} {context.event.name if context.event else ''}".strip())
        match value:
            case "fail":
                raise ValueError("for all")
            case "again" if not failed:
                failed.append(value)
                raise ConnectionError("once more")
            case "event" if context.event is None:
                return WaitForEvent("go")
            case "sleep" if context.event is None:
                return Sleep(timedelta(hours=1))
        return value


def over(values: list[str], on_failure: str | None = None, **fields: Any) -> Run:
    """Return a run whose items are ready."""
    each = {"name": "each", "type": "tests.item", "for_each": "values", "with": {"value": "{{ item }}"}}
    retry = {"retry": {"attempts": 2, "delay": 0, "errors": ["ConnectionError"]}}
    rescue = {"name": "rescue", "type": "tests.note", "needs": "jump"}
    run = ready([{**each, **retry, **fields}, rescue], {"values": values}, on_failure=on_failure)
    follow(claim_due("default", run_id=run.pk), keep=lambda: False)
    return run


@pytest.mark.parametrize("what", ["event", "sleep", "again"])
@pytest.mark.parametrize("on_error", ["fail", "rescue"])
def test_item_that_would_go_on_ends_when_another_has_failed_for_all(items, what: str, on_error: str) -> None:
    run = over(["fail", what], on_error=on_error)
    claims = claim_all(run)
    do(claims["each[0]"])
    do(claims["each[1]"])
    work("default")
    demand_whole(run)
    assert fresh(run).status == ("failed" if on_error == "fail" else "done")
    assert notes() == ["fail", what, *(["rescue"] if on_error == "rescue" else [])]


def test_step_whose_item_failed_is_not_closed_twice_by_one_that_was_given_back(items) -> None:
    run = over(["fail", "given back", "last"], on_error="rescue")
    claims = claim_all(run)
    do(claims["each[0]"])
    StepRun.objects.filter(pk=claims["each[1]"].step_run.pk).update(worker="dead")
    recover_worker("default", "dead")
    do(claims["each[2]"])
    work("default")
    demand_whole(run)
    assert (fresh(run).status, notes()) == ("done", ["fail", "last", "rescue"])
    assert history(run)[:4] == ["each:failed", "each[0]:failed", "each[1]:cancelled", "each[2]:done"]


def test_item_calls_nobody_when_another_has_failed_for_all(items) -> None:
    define("child", steps=[WAIT])
    each = {**CALL, "for_each": "values", "with": {"workflow": "{{ item }}"}, "on_error": "continue"}
    run = ready([{**each, "on_error": "fail"}], {"values": ["nothing", "child"]})
    follow(claim_due("default", run_id=run.pk), keep=lambda: False)
    claims = claim_all(run)
    do(claims["call[0]"])
    do(claims["call[1]"])
    demand_whole(run)
    assert fresh(run).status == "failed"
    assert not Run.objects.filter(workflow__name="child").active().exists()


# Undo


def test_branch_that_ends_last_in_a_failed_run_is_undone_first(take_back) -> None:
    steps = [{**ECHO, "name": "a", "needs": [], **UNDO}, {**ECHO, "name": "b", "needs": [], **UNDO}]
    run = ready([*steps, {**FAIL, "needs": []}], on_failure="undo")
    claims = claim_all(run)
    for name in ("a", "broken", "b"):
        do(claims[name])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["b:undo", "a:undo"])


def test_only_branch_with_an_undo_that_ends_last_in_a_failed_run_is_undone(take_back) -> None:
    run = ready([{**ECHO, "needs": [], **UNDO}, {**FAIL, "needs": []}], on_failure="undo")
    claims = claim_all(run)
    do(claims["broken"])
    do(claims["echo"])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["echo:undo"])


def test_item_that_ends_last_in_a_failed_step_is_undone(items, take_back) -> None:
    run = over(["fail", "well"], on_failure="undo", **UNDO)
    claims = claim_all(run)
    do(claims["each[0]"])
    do(claims["each[1]"])
    work("default")
    assert (fresh(run).status, notes()) == ("failed", ["fail", "well", "each:undo"])


def test_undo_by_a_person_does_not_start_what_on_failure_names_again(take_back) -> None:
    define("alarm", steps=[ECHO])
    run = start([{**ECHO, **UNDO}, FAIL], on_failure={"workflow": "alarm"})
    undo_run(run)
    assert (fresh(run).status, notes()) == ("failed", ["echo:undo"])
    assert Run.objects.filter(workflow__name="alarm").count() == 1


def test_undo_may_call_a_workflow_and_wait_for_it(take_back) -> None:
    define("child", steps=[WAIT, {"type": "tests.note"}])
    run = start(
        [{**ECHO, "undo": {"type": "flow.call", "with": {"workflow": "child"}}}, FAIL], on_failure="undo"
    )
    assert (fresh(run).status, step_run(run, "echo:undo").waiting_for) == ("running", "child")
    send_event(Run.objects.get(workflow__name="child"), "go")
    assert (fresh(run).status, notes()) == ("failed", ["tests_note"])


@pytest.mark.parametrize("is_early", [False, True])
def test_undo_may_wait_for_an_event(take_back, is_early: bool) -> None:
    undo = {"type": "flow.wait", "with": {"event": "go"}}
    run = start([{**ECHO, "undo": undo}, {**WAIT, "with": {"event": "stop"}}], on_failure="undo")
    if is_early:
        send_event(run, "go")
    cancel_run(run)
    undo_run(run)
    if not is_early:
        assert fresh(run).status == "running"
        send_event(run, "go")
    assert (fresh(run).status, step_run(run, "echo:undo").status) == ("cancelled", "done")


def test_undo_is_not_told_that_it_is_cancelled(register) -> None:
    seen: list[bool] = []

    @register("tests.undo")
    def undo(context: StepContext) -> None:
        context.heartbeat()
        seen.append(context.cancelled)

    start([{**ECHO, "undo": {"type": "tests.undo"}}, FAIL], on_failure="undo")
    assert seen == [False]


# Calls


def test_call_that_the_ending_overtook_is_made_by_the_retry(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[ECHO])
    run = ready([{**CALL, "needs": []}, {"name": "broken", "type": "tests.may_fail", "needs": []}])
    claims = claim_all(run)
    do(claims["broken"])
    do(claims["call"])
    assert history(run) == ["call:cancelled", "broken:failed"]
    broken.clear()
    retry_run(run)
    assert fresh(run).output_of("call") == 7


def test_retry_calls_anew_where_the_failed_child_was_undone(take_back, broken: set[int]) -> None:
    broken.add(1)
    work_, undone = {"name": "work", "type": "tests.may_fail"}, {**ECHO, **UNDO}
    define("child", steps=[undone, work_], on_failure="undo")
    run = start([CALL])
    broken.clear()
    retry_run(run)
    assert (fresh(run).status, fresh(run).output_of("call")) == ("done", "worked")
    assert Run.objects.filter(workflow__name="child").count() == 2


def test_retry_of_a_child_that_is_refused_later_fails_the_caller(take_back, broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{**ECHO, **UNDO}, {"name": "work", "type": "tests.may_fail"}])
    run = start([CALL])
    with transaction.atomic():
        retry_run(run)
        connection.run_on_commit.clear()
    undo_run(Run.objects.get(workflow__name="child"))
    process.forget()
    callers.repeat("default")
    work("default")
    assert (fresh(run).status, history(run)) == ("failed", ["call:failed", "call:failed"])


def test_child_that_fails_again_is_retried_once(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    run = start([CALL])
    retry_run(run)
    assert fresh(run).status == "failed"
    assert history(Run.objects.get(workflow__name="child")) == ["work:failed", "work:failed"]


def test_child_that_a_person_revived_meanwhile_is_waited_for_again(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail", "delay": "1h"}, WAIT])
    run = start([CALL])
    pause_run(run)
    forward(Run.objects.get(workflow__name="child"), hours=2)
    child = Run.objects.get(workflow__name="child")
    assert (child.status, step_run(run, "call").status) == ("failed", "pending")
    broken.clear()
    retry_run(child)
    resume_run(run)
    process.forget()
    callers.repeat("default")
    assert (fresh(child).status, step_run(run, "call").waiting_for) == ("waiting", "child")
    send_event(child, "go", 3)
    assert fresh(run).output_of("call") == {"event": "go", "payload": 3}


def test_child_found_by_its_key_and_deleted_at_once_fails_the_call_with_its_own_error() -> None:
    define("child", steps=[ECHO])
    child = trigger("child", key="k")
    run = ready([{**CALL, "with": {"workflow": "child", "key": "k"}}])
    follow(claim_due("default", run_id=run.pk), keep=lambda: False)
    child.delete()
    work("default")
    assert fresh(run).error_type == "django_workflow.exceptions.ChildFailed"


def test_child_that_cannot_be_moved_is_in_no_other_ones_way(broken: set[int]) -> None:
    broken.add(1)
    define("child", steps=[{"name": "work", "type": "tests.may_fail"}])
    lost = start([CALL])
    with transaction.atomic():
        retry_run(lost)
        connection.run_on_commit.clear()
    version = Run.objects.get(workflow__name="child").version
    assert version is not None
    define("child", steps=[WAIT])
    define("other", steps=[CALL])
    healthy = trigger("other")
    Run.objects.filter(workflow__name="child", status="waiting").delete()
    WorkflowVersion.objects.filter(pk=version.pk).update(spec=[])
    get_program.cache_clear()
    process.forget()
    callers.repeat("default")
    work("default")
    assert fresh(healthy).error_type == "django_workflow.exceptions.ChildFailed"
    assert fresh(lost).status == "waiting"


def test_what_on_failure_names_and_nobody_can_read_does_not_keep_the_run_from_failing() -> None:
    define("alarm", steps=[ECHO])
    WorkflowVersion.objects.update(spec=[])
    get_program.cache_clear()
    run = start([FAIL], on_failure={"workflow": "alarm"})
    assert fresh(run).status == "failed"


# Aliases


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_children_events_and_undo_stay_on_the_alias_of_their_run(take_back, broken: set[int]) -> None:
    broken.add(1)
    may_fail = {"name": "broken", "type": "tests.may_fail"}
    define("child", steps=[WAIT], using="other")
    define("parent", steps=[{**ECHO, **UNDO}, CALL, may_fail], on_failure="undo", using="other")
    with transaction.atomic():
        run = trigger("parent", using="other")
        child = Run.objects.using("other").get(workflow__name="child")
        send_event(child, "go")
        assert (fresh(run).status, step_run(run, "echo:undo").status) == ("failed", "done")
    define("parent", steps=[CALL], using="other")
    run = trigger("parent", using="other")
    cancel_run(run)
    assert set(Run.objects.using("other").active()) == set()
    assert not Run.objects.exists()
