"""What the engine uses of Django's private parts: a release that changes them is noticed here first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TestCase

from django_workflow.engine.transactions import (
    close_transactions,
    count_callbacks,
    is_closed,
    is_of_test_case,
    make_robust,
    open_transactions,
)
from django_workflow.exceptions import OutcomeError

# So that the engine finds it as it is in autocommit.
autocommit = pytest.mark.django_db(transaction=True)


def fail() -> None:
    raise ValueError("after the commit")


@autocommit
def test_a_connection_has_the_attributes_that_are_edited() -> None:
    connection: Any = connections["default"]
    connection.ensure_connection()
    kinds = {
        name: type(getattr(connection, name)) for name in ("savepoint_ids", "atomic_blocks", "run_on_commit")
    }
    assert set(kinds.values()) == {list}
    flags = ("in_atomic_block", "needs_rollback", "closed_in_transaction", "autocommit")
    assert {type(getattr(connection, name)) for name in flags} == {bool}


@autocommit
def test_a_callback_is_kept_as_savepoints_function_and_whether_it_is_robust(caplog: Any) -> None:
    with transaction.atomic():
        earlier = count_callbacks("default")
        transaction.on_commit(fail)
        ((savepoints, function, is_robust),) = connections["default"].run_on_commit[earlier:]
        assert (savepoints, function, is_robust) == (set(savepoints), fail, False)
        make_robust("default", earlier)
    assert "after the commit" in caplog.text


@autocommit
@pytest.mark.parametrize("depth", [1, 2])
def test_what_was_left_open_is_rolled_back(depth: int) -> None:
    before = open_transactions()
    for _ in range(depth):
        transaction.atomic().__enter__()
    with pytest.raises(OutcomeError, match="left a transaction open on 'default'"):
        close_transactions(before)
    assert open_transactions() == before


@autocommit
def test_a_savepoint_that_was_left_open_is_rolled_back_and_the_block_goes_on() -> None:
    with transaction.atomic():
        before = open_transactions()
        transaction.atomic().__enter__()
        with pytest.raises(OutcomeError):
            close_transactions(before)
        assert open_transactions() == before


@autocommit
def test_a_connection_that_is_closed_in_a_transaction_says_so() -> None:
    block = transaction.atomic()
    block.__enter__()
    connections["default"].close()
    assert is_closed("default")
    block.__exit__(None, None, None)
    connections["default"].ensure_connection()
    assert not is_closed("default")


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_is_known_from_others() -> None:
    assert is_of_test_case(connections["default"])
    with transaction.atomic():
        assert not is_of_test_case(connections["default"])
    assert "_from_testcase" in inspect.getsource(TestCase._enter_atomics)
