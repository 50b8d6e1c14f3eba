"""Async handlers that wait beside one another in one event loop of one worker (ASYNC_TOGETHER)."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone

from django_workflow import Goto, Sleep, cancel_run
from django_workflow.engine.claim import BATCH, Claim, claim_due
from django_workflow.engine.execute import follow, work
from django_workflow.models import Run, StepRun
from tests.support.batches import ready, statuses
from tests.support.crashes import take_up
from tests.support.runs import fresh, in_threads, let_time_pass, step_run, step_runs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)
TOGETHER = 60
CALL: dict[str, Any] = {"name": "call", "type": "tests.call"}
EACH: dict[str, Any] = {**CALL, "for_each": "many"}
Act = Callable[[Any], Any]


class Under:
    """How many calls are under way, and have been at most; ``all_here`` is set when so many are."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.now, self.most = wanted, 0, 0
        self.calls: Counter[Any] = Counter()
        self.threads: set[int] = set()

    async def meet(self, context: Any) -> None:
        """Wait until as many as are wanted have come; fail when they do not."""
        self.calls[context.run_id, context.step, context.index] += 1
        self.threads.add(threading.get_ident())
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(2000):
            if self.most >= self.wanted:
                break
            await asyncio.sleep(0.01)
        self.now -= 1


@pytest.fixture(autouse=True)
def together(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "ASYNC_TOGETHER": TOGETHER}


@pytest.fixture
def meeting(register: Callable[..., Any]) -> Callable[..., Under]:
    """Return what registers an async step whose calls wait for one another, and then ``act``."""

    def prepare(wanted: int, act: Act = lambda context: context.index, **fields: Any) -> Under:
        under = Under(wanted)

        @register("tests.call", **fields)
        async def call(context: Any) -> Any:
            await under.meet(context)
            return act(context)

        return under

    return prepare


def spread(count: int, **fields: Any) -> Run:
    """Return a run whose items are ready, and held by nobody."""
    [run] = ready([{**EACH, **fields}, {"name": "last", "type": "tests.note"}], 1)
    Run.objects.update(state={"many": list(range(count))})
    follow(claim(), keep=lambda: False)
    return fresh(run)


def claim() -> list[Claim]:
    return claim_due("default", most=BATCH)


def test_sixty_items_wait_at_the_same_time(meeting) -> None:
    under = meeting(TOGETHER)
    run = spread(TOGETHER)
    work("default")
    assert (fresh(run).status, step_run(run, "call", index=-1).output) == ("done", list(range(TOGETHER)))
    assert (under.most, len(under.calls), set(under.calls.values())) == (TOGETHER, TOGETHER, {1})
    assert len(under.threads) == 1


def test_runs_and_branches_wait_at_the_same_time(meeting) -> None:
    under = meeting(20)
    branches = [{**CALL, "name": name, "needs": []} for name in ("a", "b")]
    runs = ready([*branches, {"name": "last", "type": "tests.note", "needs": ["a", "b"]}], 10)
    work("default")
    assert (statuses(runs), under.most, len(under.calls)) == ({"done": 10}, 20, 20)
    assert Note.objects.filter(text="last").count() == 10


def test_more_than_the_setting_says_are_never_under_way(meeting, settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "ASYNC_TOGETHER": 4}
    under = meeting(4)
    run = spread(11)
    work("default")
    assert (fresh(run).status, under.most, len(under.calls)) == ("done", 4, 11)


def test_by_default_one_is_called_after_the_other(meeting, settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None}
    under = meeting(1)
    run = spread(5)
    assert len(claim_due("default", most=BATCH)) == 1
    step_runs(run).filter(status="running").update(status="pending", lease_token=None, due_at=timezone.now())
    work("default")
    assert (fresh(run).status, under.most, len(under.calls)) == ("done", 1, 5)


def test_each_is_recorded_when_it_ends_though_a_slow_one_goes_on(register) -> None:
    seen: list[int] = []

    @register("tests.call")
    async def call(context: Any) -> None:
        while context.index == 0 and len(seen) < 9:
            # Another connection sees what is committed.
            done = in_threads(lambda: StepRun.objects.filter(status="done", index__gte=0).count())
            seen[:] = range(done[0])
            await asyncio.sleep(0.01)

    run = spread(10)
    work("default")
    assert (fresh(run).status, len(seen)) == ("done", 9)


def test_another_begins_for_each_that_has_ended_though_a_slow_one_goes_on(register, settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "ASYNC_TOGETHER": 2}
    called: list[int] = []

    @register("tests.call")
    async def call(context: Any) -> None:
        called.append(context.index)
        while context.index == 0 and len(called) < 8:
            await asyncio.sleep(0.01)

    run = spread(8)
    work("default")
    assert (fresh(run).status, called) == ("done", list(range(8)))


def test_each_has_its_own_timeout_error_and_outcome(register) -> None:
    nap = timedelta(hours=1)

    @register("tests.call", timeout=0.3)
    async def call(context: Any) -> Any:
        if context.index == 1:
            await asyncio.sleep(60)
        if context.index == 2:
            raise ValueError("mine")
        if context.index == 3 and context.event is None:
            return Sleep(nap)
        if context.index == 4:
            raise asyncio.CancelledError
        if context.index == 5:
            return Goto("last")
        context.state[f"item{context.index}"] = context.index
        return context.index

    run = spread(7, on_error="continue")
    work("default")
    assert fresh(run).status == "waiting"
    run = let_time_pass(run)
    found = {row.index: (row.status, row.error_type.rpartition(".")[2]) for row in step_runs(run)}
    assert found == {
        -1: ("done", ""),
        0: ("done", ""),
        1: ("failed", "StepTimeout"),
        2: ("failed", "ValueError"),
        3: ("done", ""),
        4: ("failed", "CancelledError"),
        5: ("failed", "OutcomeError"),
        6: ("done", ""),
    }
    assert step_run(run, "call", index=-1).output == [0, None, None, 3, None, None, 6]
    assert {key for key in run.state if key.startswith("item")} == {"item0", "item3", "item6"}


class Panic(BaseException):
    """What a binding to another language raises."""


@pytest.mark.parametrize("error", [Panic, KeyboardInterrupt])
def test_one_that_raises_no_exception_fails_and_the_others_are_done(meeting, error) -> None:
    def act(context: Any) -> int:
        if context.index == 1:
            raise error
        return int(context.index)

    under = meeting(4, act)
    run = spread(4, on_error="continue")
    work("default")
    assert (fresh(run).status, step_run(run, "call", index=-1).output) == ("done", [0, None, 2, 3])
    assert (step_run(run, "call", index=1).error_type.rpartition(".")[2], set(under.calls.values())) == (
        error.__name__,
        {1},
    )


def test_one_whose_task_breaks_the_loop_is_called_alone_and_fails(register) -> None:
    @register("tests.call")
    async def call(context: Any) -> int:
        if context.index == 1:
            async with asyncio.TaskGroup() as group:
                group.create_task(interrupt())
        return int(context.index)

    async def interrupt() -> None:
        raise KeyboardInterrupt

    run = spread(3, on_error="continue")
    with pytest.raises(KeyboardInterrupt):
        work("default")
    work("default")
    assert (fresh(run).status, step_run(run, "call", index=-1).output) == ("done", [0, None, 2])


def test_handlers_use_the_database(register) -> None:
    @register("tests.call")
    async def call(context: Any) -> int:
        await Note.objects.acreate(text=f"note {context.index}")
        await asyncio.sleep(0)
        return await Note.objects.filter(text=f"note {context.index}").acount()

    run = spread(12)
    work("default")
    assert step_run(run, "call", index=-1).output == [1] * 12


def test_rule_10_the_crash_of_several_counts_against_none_and_each_is_alone_then(meeting) -> None:
    under = meeting(1)
    run = spread(5)
    claims = claim()
    assert (len(claims), {each.step_run.solo for each in claims}) == (5, {False})
    step_runs(run).filter(status="running").update(due_at=timezone.now() - timedelta(minutes=1))
    assert take_up() == 5
    assert (fresh(run).status, under.most, set(under.calls.values())) == ("done", 1, {1})
    assert {row.crashes for row in step_runs(run)} == {0}


def test_what_follows_is_left_for_anybody_and_done(register, meeting) -> None:
    under = meeting(6)
    runs = ready([CALL, {"name": "then", "type": "tests.note"}, {**CALL, "name": "again"}], 6)
    follow(claim())
    rows = StepRun.objects.filter(step="then")
    assert set(rows.values_list("status", "lease_token")) == {("pending", None)}
    work("default")
    assert (statuses(runs), len(under.calls), under.most) == ({"done": 6}, 12, 6)


def test_a_run_that_is_cancelled_tells_its_handlers_and_harms_no_other(register) -> None:
    runs: list[Run] = []
    seen: list[bool] = []

    @register("tests.call")
    async def call(context: Any) -> str:
        if context.run_id == runs[0].pk:
            in_threads(lambda: cancel_run(runs[0]))
            await sync_to_async(context.heartbeat)()
            seen.append(context.cancelled)
        return "result"

    runs += ready([CALL], 4)
    work("default")
    assert [fresh(run).status for run in runs] == ["cancelled", "done", "done", "done"]
    assert seen == [True]
    assert step_run(runs[0], "call").output == "result"


def test_a_step_whose_lease_was_lost_writes_nothing(register) -> None:
    @register("tests.call")
    async def call(context: Any) -> int:
        if context.index == 1:
            in_threads(lambda: StepRun.objects.filter(index=1).update(status="pending", lease_token=None))
        return int(context.index)

    run = spread(3)
    follow(claim())
    assert [row.status for row in step_runs(run).filter(index__gte=0)] == ["done", "pending", "done"]


def test_a_transaction_left_open_is_rolled_back_before_anything_is_recorded(register) -> None:
    @register("tests.call")
    async def call(context: Any) -> None:
        if context.index == 1:
            await _leave_open()

    run = spread(3, on_error="continue")
    work("default")
    assert fresh(run).status == "done"
    assert not Note.objects.filter(text="left open").exists()
    assert Counter(row.status for row in step_runs(run).filter(index__gte=0))["failed"] == 1


async def _leave_open() -> None:
    def begin() -> None:
        transaction.set_autocommit(False)
        Note.objects.create(text="left open")

    await sync_to_async(begin)()
