"""A handler that changes settings of the database session: neither recording nor later steps have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from django_workflow import define
from django_workflow.models import Run
from django_workflow.test import workflow_test
from tests.support.runs import start, step_run
from tests.testapp.models import Note

transactional = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'")

READ = {
    "postgresql": (
        "SELECT current_setting('search_path'), current_setting('role'), "
        "current_setting('statement_timeout'), current_setting('TimeZone'), "
        "coalesce(current_setting('shop.tenant', true), '')"
    ),
    "sqlite": "PRAGMA query_only",
}
CHANGES = {
    "postgresql": [
        "SET search_path TO elsewhere",
        "set local search_path to elsewhere",
        "SET ROLE pg_monitor",
        "SET statement_timeout = 1",
        "SET TIME ZONE 'Asia/Kolkata'",
        "SET shop.tenant = 'seven'",
        "SELECT set_config('search_path', 'elsewhere', false)",
        "DO $$ BEGIN SET search_path TO elsewhere; END $$",
        "RESET search_path; /* and */ SET search_path TO elsewhere",
    ],
    "sqlite": ["PRAGMA query_only = ON", "pragma query_only(1)", "PRAGMA foreign_keys = OFF"],
}


def execute(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def settings_of_session() -> list[Any]:
    return execute(READ[connection.vendor])


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Make a schema with a table of runs of its own."""
    if connection.vendor == "postgresql":
        execute("CREATE SCHEMA elsewhere")
        for model in (Run, Note):
            table = model._meta.db_table
            execute(f"CREATE TABLE elsewhere.{table} (LIKE public.{table} INCLUDING ALL)")
    yield
    if connection.vendor == "postgresql":
        execute("DROP SCHEMA elsewhere CASCADE")


@transactional
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["plain", "atomic", "idempotent", "async"])
@pytest.mark.parametrize("statement", CHANGES.get(connection.vendor, []))
def test_a_setting_is_that_of_the_handler_alone(
    register: Callable[..., Any], elsewhere: None, statement: str, kind: str, fails: bool
) -> None:
    before = settings_of_session()

    def change() -> None:
        execute(statement)
        if fails:
            raise ValueError("after the statement")

    async def change_async() -> None:
        await sync_to_async(change)()

    options = {kind: True} if kind in ("atomic", "idempotent") else {}
    register("tests.change", **options)(change_async if kind == "async" else change)

    run = start(
        [{"type": "tests.change", "on_error": "continue"}, {"type": "tests.note", "with": {"text": "after"}}]
    )

    assert run.status == "done"
    assert step_run(run, "tests_change").status == ("failed" if fails else "done")
    assert settings_of_session() == before
    assert Note.objects.filter(text="after").exists()


@on_postgres
@transactional
def test_what_the_caller_has_set_is_left_to_it(register: Callable[..., Any], elsewhere: None) -> None:
    register("tests.change")(lambda: execute("SET statement_timeout = 1234"))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 77777")
    try:
        assert start([{"type": "tests.change"}]).status == "done"
        assert execute("SHOW statement_timeout") == [("77777ms",)]
    finally:
        execute("RESET statement_timeout")


@on_postgres
@transactional
def test_a_callback_after_the_commit_leaves_none_either(
    register: Callable[..., Any], elsewhere: None
) -> None:
    before = settings_of_session()

    @register("tests.change", atomic=True)
    def change() -> None:
        transaction.on_commit(lambda: execute("SET search_path TO elsewhere"))

    assert start([{"type": "tests.change"}, {"type": "tests.note"}]).status == "done"
    assert settings_of_session() == before


@pytest.mark.django_db
def test_a_setting_ends_with_the_step_inside_the_transaction_of_a_test(
    register: Callable[..., Any], elsewhere: None
) -> None:
    before = settings_of_session()
    register("tests.change")(lambda: execute(CHANGES[connection.vendor][0]))
    define("flow", steps=[{"type": "tests.change"}, {"type": "tests.note"}])
    with workflow_test() as kit:
        assert kit.trigger("flow").status == "done"
    assert settings_of_session() == before
