"""What a recorded step costs: one transaction and at most three statements, however long the run is."""

from __future__ import annotations

import pytest
from django.db import connection, reset_queries
from django.test.utils import CaptureQueriesContext

from django_workflow import define, trigger

pytestmark = pytest.mark.django_db(transaction=True)
# Not counted: what begins and ends a transaction, and the time, which is read every 20 seconds.
CONTROL = (
    "SELECT statement_timestamp()",
    "SELECT strftime(",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
)


def cost(count: int, type: str) -> tuple[int, int]:
    """Return the statements and the transactions of a whole run of ``count`` steps."""
    define(f"flow{count}", steps=[{"type": type} for _ in range(count)])
    reset_queries()
    with CaptureQueriesContext(connection) as captured:
        assert trigger(f"flow{count}").status == "done"
    statements = [query["sql"] for query in captured]
    begins = sum(1 for sql in statements if sql.startswith("BEGIN"))
    return sum(1 for sql in statements if not sql.startswith(CONTROL)), begins


@pytest.mark.parametrize(
    ("type", "lengths"), [("tests.echo", [(10, 20), (890, 900)]), ("tests.count", [(10, 20)])]
)
def test_a_sequential_step_costs_one_transaction_and_three_statements_however_long_the_run(
    register, type, lengths
) -> None:
    @register("tests.count")
    def count_calls(context) -> None:
        context.state["calls"] = context.state.get("calls", 0) + 1

    for short, long in lengths:
        few, many = cost(short, type), cost(long, type)
        # On PostgreSQL the step is one statement, and a transaction by itself.
        alone = connection.vendor == "postgresql"
        assert (many[0] - few[0]) / (long - short) <= (1 if alone else 3)
        assert (many[1] - few[1]) / (long - short) == (0 if alone else 1)


def test_an_atomic_step_costs_one_transaction_and_one_statement_more_at_most() -> None:
    few, many = cost(10, "tests.echo_atomically"), cost(20, "tests.echo_atomically")
    assert (many[0] - few[0]) / 10 <= 4
    assert (many[1] - few[1]) / 10 == 1


def test_finished_runs_beside_it_do_not_make_a_run_dearer() -> None:
    before = cost(10, "tests.echo")
    for _ in range(30):
        trigger("flow10")
    with CaptureQueriesContext(connection) as captured:
        trigger("flow10")
    statements = [query["sql"] for query in captured if not query["sql"].startswith(CONTROL)]
    assert len(statements) <= before[0]


def test_a_step_that_reads_no_output_asks_for_none() -> None:
    define("flow", steps=[{"type": "tests.echo", "with": {"value": "{{ a }}"}} for _ in range(5)])
    trigger("flow", {"a": 1})
    with CaptureQueriesContext(connection) as captured:
        trigger("flow", {"a": 1})
    reads = [
        query["sql"]
        for query in captured
        if query["sql"].startswith("SELECT") and "step_run" in query["sql"].lower()
    ]
    reads = [sql for sql in reads if '"output"' in sql and '"due_at" <=' not in sql]
    assert reads == []
