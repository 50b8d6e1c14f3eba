"""The order of writes, clocks, waits and SQLite's lock: one test for each rule that the engine keeps."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow import Goto, Retry, cancel_run, process, retry_run
from django_workflow.engine import leases
from django_workflow.engine.claim import Claim, claim_due
from django_workflow.engine.control import end_overdue
from django_workflow.engine.entries import Entry
from django_workflow.engine.execute import work
from django_workflow.engine.give_back import give_back
from django_workflow.engine.now import database_now
from django_workflow.engine.recover import recover_expired
from django_workflow.engine.rounds import execute_round
from django_workflow.engine.single import execute
from django_workflow.engine.statements import write
from django_workflow.engine.stuck import recover_stuck
from django_workflow.models import Run, StepRun
from tests.support.batches import ON_POSTGRES, claim_batch, ready, wait_until
from tests.support.crashes import be_in_touch, crash
from tests.support.runs import fresh, in_threads, let_time_pass, start, step_run, step_runs, waiting_run

pytestmark = [pytest.mark.usefixtures("patience"), pytest.mark.django_db(transaction=True)]

Act = Callable[[], object]
WRITE = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM) [`\"](\w+)[`\"]")
LOCK = re.compile(r"\bFROM [`\"](\w+)[`\"].*\bFOR (?:NO KEY )?UPDATE")
RUNS, STEPS = Run._meta.db_table, StepRun._meta.db_table
NOTE = {"name": "one", "type": "tests.note"}
AFTER = {"name": "two", "type": "tests.note"}


@pytest.fixture(autouse=True)
def types(register: Callable[..., Any]) -> None:
    """Register a step of each kind that a recording may be of."""
    register("tests.idempotent", idempotent=True)(lambda: None)
    register("tests.atomic", atomic=True)(lambda: None)
    register("tests.jump")(lambda: Goto("two"))


def claims_of(*steps: dict[str, Any], count: int = 1) -> list[Claim]:
    """Return what is claimed at once of so many new runs."""
    ready(list(steps), count)
    return claim_batch()


def recording(*steps: dict[str, Any]) -> Act:
    return partial(execute, *claims_of(*steps))


def recording_of_a_run_that_moved() -> Act:
    (claim,) = claims_of(NOTE, AFTER)
    Run.objects.update(revision=F("revision") + 1)
    return partial(execute, claim)


def sharing(type: str) -> Act:
    return partial(execute_round, claims_of({**NOTE, "type": type}, AFTER, count=5), keep=lambda: True)


def giving_back(*, is_ending: bool = False, **how: Any) -> Act:
    (claim,) = claims_of(NOTE)
    if is_ending:
        cancel_run(claim.run)
    return partial(give_back, "default", claim.run.pk, claim.step_run.pk, claim.token, **how)


def recovering(*, is_ending: bool = False) -> Act:
    run = waiting_run([NOTE])
    crash(run, "one")
    if is_ending:
        cancel_run(run)
    be_in_touch()
    return partial(recover_expired, "default")


def repairing(*, lacks_rows: bool = False) -> Act:
    rows = step_runs(waiting_run([NOTE]))
    rows.delete() if lacks_rows else rows.update(due_at=None)
    return partial(recover_stuck, "default")


def ending_overdue() -> Act:
    waiting_run([NOTE])
    Run.objects.update(deadline=database_now("default") - timedelta(minutes=1))
    return lambda: end_overdue("default", database_now("default"))


def postponing() -> Act:
    ready([NOTE], 1)
    StepRun.objects.update(step="of another version")
    return partial(claim_due, "default")


CHANGES: dict[str, Callable[[], Act]] = {
    "a claim": lambda: ready([NOTE], 2) and claim_batch,
    "a claim of several": lambda: ready([{**NOTE, "type": "tests.idempotent"}], 5) and claim_batch,
    "a recording": partial(recording, NOTE, AFTER),
    "the last recording": partial(recording, NOTE),
    "an atomic recording": partial(recording, {**NOTE, "type": "tests.note_atomically"}, AFTER),
    "a recording behind the lock": recording_of_a_run_that_moved,
    "a jump": partial(recording, {**NOTE, "type": "tests.jump"}, {**NOTE, "name": "skipped"}, AFTER),
    "a failure beside others": partial(
        recording, {**NOTE, "type": "tests.fail"}, {**AFTER, "needs": [], "delay": "1h"}
    ),
    "a list": partial(recording, {**NOTE, "for_each": "values", "max_parallel": 2}),
    "a shared recording": partial(sharing, "tests.idempotent"),
    "a shared atomic recording": partial(sharing, "tests.atomic"),
    "a giving back": giving_back,
    "a giving back that does not wait": partial(giving_back, waits=False),
    "a giving back of an ending run's": partial(giving_back, is_ending=True),
    "a recovery": recovering,
    "a recovery of an ending run's": partial(recovering, is_ending=True),
    "a repair": repairing,
    "a repair of a run without steps": partial(repairing, lacks_rows=True),
    "a cancel": lambda: partial(cancel_run, waiting_run([NOTE])),
    "a retry": lambda: partial(retry_run, start([{**NOTE, "type": "tests.fail"}])),
    "a deadline": ending_overdue,
    "a postponement": postponing,
}


def transactions(captured: CaptureQueriesContext) -> Iterator[list[tuple[str, str]]]:
    """Yield what each transaction locks and writes of the engine's tables, in order."""
    found: list[tuple[str, str]] = []
    in_block = False
    for sql in (query["sql"] for query in captured):
        if sql.startswith("BEGIN"):
            in_block = True
        locks = [("LOCK", table) for table in LOCK.findall(sql) if not WRITE.search(sql)]
        found += [each for each in [*locks, *WRITE.findall(sql)] if each[1] in (RUNS, STEPS)]
        if found and (not in_block or sql.startswith(("COMMIT", "ROLLBACK"))):
            yield found
            found = []
        in_block = in_block and not sql.startswith(("COMMIT", "ROLLBACK"))


@pytest.mark.parametrize("change", CHANGES)
def test_rule_2_every_transaction_writes_its_run_first(change) -> None:
    act = CHANGES[change]()
    with CaptureQueriesContext(connection) as captured:
        act()
    found = list(transactions(captured))
    assert found
    for each in found:
        assert next(what for what in each if what != ("LOCK", RUNS)) == ("UPDATE", RUNS), each
    assert any(table == STEPS for each in found for _verb, table in each) or change == "a retry"


def entry(claim: Claim) -> Entry:
    raised, moved = {"revision": claim.run.revision + 1}, {"lease_until": claim.step_run.created_at}
    return Entry(run=claim.run, run_values=raised, row=claim.step_run, token=claim.token, row_values=moved)


def both_wait() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() == (2,)


@ON_POSTGRES
def test_rule_3_who_write_the_same_runs_in_opposite_order_wait_and_do_not_deadlock() -> None:
    claims = sorted(claims_of({**NOTE, "type": "tests.idempotent"}, count=7), key=lambda each: each.run.pk)
    entries = [entry(claim) for claim in claims]

    def hold_the_middle() -> set[Any]:
        with transaction.atomic():
            Run.objects.select_for_update(no_key=True).get(pk=claims[3].run.pk)
            wait_until(both_wait)
        return set()

    def write_once_held(entries: list[Entry]) -> set[Any]:
        wait_until(lambda: is_locked(claims[3].run))
        return write("default", entries)

    forth, back = partial(write_once_held, entries), partial(write_once_held, entries[::-1])
    passed = in_threads(hold_the_middle, forth, back)
    assert sorted(map(len, passed)) == [0, 0, 7]


def is_locked(run: Run) -> bool:
    with transaction.atomic():
        return not Run.objects.filter(pk=run.pk).select_for_update(skip_locked=True, no_key=True).exists()


@pytest.mark.parametrize("type", ["tests.idempotent", "tests.atomic"])
def test_rule_3_a_shared_commit_locks_its_runs_in_key_order(type) -> None:
    claims = sorted(claims_of({**NOTE, "type": type}, count=5), key=lambda each: each.run.pk, reverse=True)
    seen: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        execute_round(claims, keep=lambda: True)
    if connection.vendor == "postgresql":
        locks = [sql for sql, _params in seen if "FOR NO KEY UPDATE" in sql]
        assert len(locks) == (1 if type == "tests.idempotent" else 2)
        in_order = re.compile(r"ORDER BY (?:1|\S*\"id\")( ASC)? FOR NO KEY UPDATE")
        assert all(map(in_order.search, locks)), locks
    else:
        prepare = Run._meta.get_field("id").get_db_prep_value
        keys = [prepare(claim.run.pk, connection) for claim in reversed(claims)]
        (params,) = [params for sql, params in seen if WRITE.findall(sql) == [("UPDATE", RUNS)]]
        assert [next(value for value in each if value in keys) for each in params] == keys


@pytest.mark.parametrize("hours", [1, -1])
def test_rule_17_a_wrong_clock_of_this_machine_changes_neither_what_is_due_nor_what_has_expired(
    monkeypatch, hours
) -> None:
    right_now, right_time = timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: right_now() + timedelta(hours=hours))
    monkeypatch.setattr(time, "time", lambda: right_time() + hours * 3600)
    process.forget()
    real, soon = database_now("default"), timedelta(minutes=30)
    assert abs(real - right_now()) < timedelta(minutes=1)
    dead, alive, asleep, overdue, timely = runs = [waiting_run([NOTE]) for _ in range(5)]
    crash(dead, "one", due_at=real - soon, lease_until=real - soon)
    crash(alive, "one", due_at=real + soon, lease_until=real + soon)
    step_runs(asleep).update(due_at=real + soon)
    Run.objects.filter(pk=overdue.pk).update(deadline=real - soon)
    Run.objects.filter(pk=timely.pk).update(deadline=real + soon)
    (fits,) = ready([NOTE], 1, name="ready")
    be_in_touch()
    assert (end_overdue("default", database_now("default")), recover_expired("default")) == (1, 1)
    (claim, *_none) = claim_due("default", run_id=fits.pk)
    assert abs(claim.step_run.lease_until - real - timedelta(seconds=60)) < timedelta(seconds=30)
    work("default")
    statuses = [fresh(run).status for run in runs]
    assert statuses == ["done", "running", "pending", "failed", "pending"]


def test_rule_21_the_default_timeout_is_for_handlers_and_not_for_waits(register, settings) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "TIMEOUT": "0.2s"}
    tries: list[str] = []

    @register("tests.slow_once", retry=Retry(attempts=2, delay="1h"))
    def slow_once() -> None:
        tries.append("called")
        until = time.monotonic() + (2 if len(tries) == 1 else 0)
        while time.monotonic() < until:
            pass

    run = start([{"name": "nap", "type": "flow.sleep", "with": {"for": "30d"}}, {"type": "tests.slow_once"}])
    begun = step_run(run, "nap")
    assert begun.due_at - begun.created_at > timedelta(days=29)
    long_ago = database_now("default") - timedelta(days=30)
    step_runs(run).update(started_at=long_ago, created_at=long_ago)
    run = let_time_pass(run)
    retried = step_run(run, "tests_slow_once", attempt=1)
    assert (step_run(run, "nap").status, retried.error_type.rpartition(".")[2]) == ("done", "StepTimeout")
    assert (let_time_pass(run).status, tries) == ("done", ["called"] * 2)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others lock rows")
def test_rule_22_a_renewal_answered_locked_is_tried_again_and_is_no_lost_lease(monkeypatch, caplog) -> None:
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "timeout", 0.05)
    (claim,) = claims_of(NOTE)
    lease, before = claim.lease, claim.step_run.lease_until
    writer = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    lease.renewed -= 25
    leases.hold(lease)
    try:
        wait_until(lambda: "database is locked" in caplog.text)
        assert not lease.is_cancelled()
        writer.execute("ROLLBACK")
        wait_until(lambda: StepRun.objects.get().lease_until > before)
        assert not lease.is_cancelled()
        lease.demand()
        assert execute(claim) is None
    finally:
        leases.release(lease)
        writer.close()
    assert fresh(claim.run).status == "done"
