"""The test kit's ``outputs``: what stands in for handlers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_workflow import End, Goto, PermanentError, RetryAfter, Sleep, StepContext, define, trigger
from django_workflow.test import workflow_test
from tests.support.runs import in_threads

pytestmark = pytest.mark.django_db

STEPS = [
    {"name": "charge", "type": "tests.real", "with": {"amount": "{{ amount }}"}},
    {"name": "ship", "type": "flow.set", "with": {"shipped": True}},
    {"name": "refund", "type": "flow.set", "needs": "jump", "with": {"refunded": True}},
]


@pytest.fixture(autouse=True)
def called(register: Callable[..., Any]) -> list[int]:
    """Return the amounts that the real handler was called with."""
    amounts: list[int] = []

    @register("tests.real")
    def real(amount: int) -> int:
        amounts.append(amount)
        return amount

    return amounts


def by_context(context: StepContext) -> dict[str, Any]:
    return {"step": context.step, "attempt": context.attempt, "amount": context.state["amount"]}


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ({"id": "ch_1"}, {"id": "ch_1"}),
        (None, None),
        (0, 0),
        (by_context, {"step": "charge", "attempt": 1, "amount": 5}),
        (lambda context: None, None),
    ],
)
def test_what_is_given_is_the_output_and_no_handler_is_called(
    called: list[int], given: Any, output: Any
) -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"charge": given}) as test:
        run = test.trigger("order", {"amount": 5})
        assert test.path(run) == ["charge", "ship"]
    assert (run.output_of("charge"), called) == (output, [])


def test_other_steps_are_called(called: list[int]) -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"ship": 1}) as test:
        assert test.trigger("order", {"amount": 5}).status == "done"
    assert called == [5]


@pytest.mark.parametrize(
    ("given", "path", "status"),
    [
        (Goto("refund"), ["charge", "refund"], "done"),
        (End("enough"), ["charge"], "done"),
        (PermanentError("card refused"), [], "failed"),
        (PermanentError, [], "failed"),
        (BaseException("a panic"), [], "failed"),
        (lambda context: PermanentError("card refused"), [], "failed"),
    ],
)
def test_outcomes_and_errors_are_taken(given: Any, path: list[str], status: str) -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"charge": given}) as test:
        run = test.trigger("order", {"amount": 5})
        assert (test.path(run), run.status) == (path, status)


def test_params_are_still_checked() -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"charge": 1}) as test:
        run = test.trigger("order", {"amount": "much"})
    assert (run.status, run.error_type.rpartition(".")[2]) == ("failed", "ParamsError")


def test_an_error_is_retried_by_policy() -> None:
    define("order", steps=[{**STEPS[0], "retry": {"attempts": 3, "delay": "1h"}}])
    with workflow_test(outputs={"charge": OSError("no answer")}) as test:
        run = test.trigger("order", {"amount": 5})
        began = test.now
        test.advance(days=1)
        rows = list(run.step_runs.order_by("attempt"))
    assert [(row.error_type, row.finished_at - began) for row in rows] == [
        ("OSError", timedelta(hours=hours)) for hours in (0, 1, 2)
    ]
    assert len({row.traceback for row in rows}) == 1


def test_a_function_decides_at_each_call() -> None:
    answers = iter([RetryAfter(60), OSError("no answer"), "paid"])
    define("order", steps=[{**STEPS[0], "retry": {"attempts": 2, "delay": "1h"}}])
    with workflow_test(outputs={"charge": lambda context: next(answers)}) as test:
        run = test.trigger("order", {"amount": 5})
        test.advance(days=1)
    assert (run.status, run.output) == ("done", "paid")


def test_a_sleep_waits_once() -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"charge": Sleep(timedelta(days=3))}) as test:
        run = test.trigger("order", {"amount": 5})
        assert run.status == "waiting"
        test.advance(days=3)
    assert (run.status, run.output_of("charge")) == ("done", None)


def test_each_item_has_the_output() -> None:
    define("many", steps=[{**STEPS[0], "for_each": "amounts", "with": {"amount": "{{ item }}"}}])
    with workflow_test(outputs={"charge": {"id": "ch_1"}}) as test:
        assert test.trigger("many", {"amounts": [1, 2]}).output == [{"id": "ch_1"}] * 2


def test_a_function_decides_by_item() -> None:
    def charge(context: StepContext) -> Any:
        return ValueError("none left") if context.item == 2 else f"{context.index}: {context.item}"

    step = {**STEPS[0], "for_each": "amounts", "with": {"amount": "{{ item }}"}, "on_error": "continue"}
    define("many", steps=[step])
    with workflow_test(outputs={"charge": charge}) as test:
        assert test.trigger("many", {"amounts": [1, 2, 3]}).output == ["0: 1", None, "2: 3"]


@pytest.mark.parametrize("options", [{"atomic": True}, {"idempotent": True}, {"rerun_after_crash": False}])
def test_every_kind_of_step_has_its_stand_in(register: Callable[..., Any], options: dict[str, bool]) -> None:
    @register("tests.kind", **options)
    def kind() -> str:
        return "real"

    define("kinds", steps=[{"type": "tests.kind"}])
    with workflow_test(outputs={"tests_kind": "stand-in"}) as test:
        assert test.trigger("kinds").output == "stand-in"


def test_an_async_step_has_its_stand_in(register: Callable[..., Any]) -> None:
    @register("tests.later")
    async def later() -> str:
        return "real"

    define("later", steps=[{"type": "tests.later"}])
    with workflow_test(outputs={"tests_later": "stand-in"}) as test:
        assert test.trigger("later").output == "stand-in"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("chrage", "did you mean 'charge'"), ("tests.real.at.all", "named by step, not by type")],
)
def test_a_name_that_no_step_has_is_an_error_before_anything_runs(
    called: list[int], name: str, hint: str
) -> None:
    define("order", steps=STEPS)
    with pytest.raises(ValueError, match=hint), workflow_test(outputs={name: 1}) as test:
        test.trigger("order", {"amount": 5})
    assert called == []


def test_a_wrong_name_is_found_also_where_the_kit_is_not_called() -> None:
    define("order", steps=STEPS)
    with pytest.raises(ValueError, match="chrage"), workflow_test(outputs={"chrage": 1}):
        pass


def test_steps_of_workflows_that_are_defined_in_the_block_are_known() -> None:
    with workflow_test(outputs={"charge": 1}) as test:
        define("order", steps=STEPS)
        assert test.trigger("order", {"amount": 5}).output_of("charge") == 1


@pytest.mark.django_db(transaction=True)
def test_outputs_answer_for_the_steps_of_their_own_thread(called: list[int]) -> None:
    define("order", steps=STEPS)
    with workflow_test(outputs={"charge": {"id": "ch_1"}}) as test:
        [elsewhere] = in_threads(lambda: trigger("order", {"amount": 7}))
        here = test.trigger("order", {"amount": 5})
    assert (elsewhere.output_of("charge"), here.output_of("charge"), called) == (7, {"id": "ch_1"}, [7])


@pytest.mark.django_db(transaction=True)
def test_outputs_answer_for_async_handlers(register: Callable[..., Any]) -> None:
    @register("tests.later")
    async def later() -> str:
        return "real"

    define("later", steps=[{"name": "one", "type": "tests.later"}])
    with workflow_test(outputs={"one": "stand-in"}) as test:
        assert test.trigger("later").output == "stand-in"
