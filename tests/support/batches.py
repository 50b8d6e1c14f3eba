"""What the tests of batches share: many ready runs, no clock between their steps, a connection that dies."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_workflow import define, trigger_many
from django_workflow.engine.claim import BATCH, Claim, claim_due
from django_workflow.models import Run, StepRun
from tests.support.runs import silent_commit

ON_POSTGRES = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL tells or does it")


def ready(steps: Sequence[Mapping[str, Any]], count: int, *, name: str = "flow", **fields: Any) -> list[Run]:
    """Return so many runs, ready and claimed by nobody; their input is their place and a list."""
    define(name, steps=steps, **fields)
    with silent_commit():
        return trigger_many(name, [{"place": place, "values": [1, 2, 3, 4]} for place in range(count)])


def claim_batch(using: str = "default") -> list[Claim]:
    """Claim what one look of a worker claims."""
    return claim_due(using, most=BATCH)


def rows_of(runs: Sequence[Run], name: str) -> list[StepRun]:
    """Return the step runs of that name, in the order of ``runs``."""
    found = {row.run_id: row for row in StepRun.objects.filter(run__in=runs, step=name)}
    return [found[run.pk] for run in runs]


def statuses(runs: Sequence[Run]) -> Counter[str]:
    """Return how many of ``runs`` have which status."""
    return Counter(Run.objects.filter(pk__in=[run.pk for run in runs]).values_list("status", flat=True))


def committed_together(rows: Sequence[StepRun]) -> list[list[StepRun]]:
    """Return ``rows`` by the transaction that wrote each last; PostgreSQL keeps that."""
    by_key = {row.pk: row for row in rows}
    groups: dict[str, list[StepRun]] = {}
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(StepRun._meta.db_table)
        cursor.execute(f"SELECT id, xmin::text FROM {table} WHERE id = ANY(%s)", [list(by_key)])
        for key, transaction_id in cursor.fetchall():
            groups.setdefault(transaction_id, []).append(by_key[key])
    return list(groups.values())


def is_recording(sql: str) -> bool:
    """Whether the statement proves a token and writes what came of a step."""
    if sql.startswith("WITH"):
        return "SKIP LOCKED" not in sql and not sql.startswith("WITH created")
    return sql.startswith("UPDATE") and "lease_token" in sql.partition("WHERE")[2]


def lose_connection() -> None:
    """Lose this thread's connection as an outage does: raises ``OperationalError``."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()
    raise OperationalError("the connection is closed")


class Losing:
    """An execute wrapper that loses the connection at the recording number ``at``, before it or after it."""

    def __init__(self, *, at: int = 1, after: bool = False) -> None:
        self.at, self.after, self.seen = at, after, 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen += is_recording(sql)
        if self.seen != self.at or not is_recording(sql):
            return execute(sql, params, many, context)
        if self.after:
            execute(sql, params, many, context)
        return lose_connection()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for another thread to make the condition true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come true"
        threading.Event().wait(0.02)
