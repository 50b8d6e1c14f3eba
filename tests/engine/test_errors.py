"""What follows from a handler's error: retries, ``on_error``, and paths that only an error takes."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest
from django import forms
from django.db import transaction

from django_workflow import Goto, PermanentError, Retry
from django_workflow.models import Run
from tests.support.runs import fresh, history, let_time_pass, recorded, start, step_run
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


class Outage(ConnectionError):
    """An error of a project's own."""


class Refused(PermanentError):
    """One that no retry mends."""


class Panic(BaseException):
    """What a binding to another language raises, or a time-out."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


RAISES = {
    "outage": Outage("down"),
    "value": ValueError("bad"),
    "refused": Refused("no"),
    "key": KeyError("k"),
}


@pytest.fixture(autouse=True)
def raising(register) -> None:
    @register("tests.raise")
    def raise_(context, kind: str, until: int = 99) -> str:
        if context.attempt < until:
            raise RAISES[kind]
        return "done"


def attempts(kind: str, retry: object, until: int = 99) -> int:
    run = start(
        [{"name": "one", "type": "tests.raise", "with": {"kind": kind, "until": until}, "retry": retry}]
    )
    return run.step_runs.count()


@pytest.mark.parametrize(
    ("kind", "retry", "count"),
    [
        ("value", None, 1),
        ("value", {"attempts": 3, "delay": 0}, 3),
        ("value", Retry(attempts=3, delay=0), 3),
        ("refused", {"attempts": 3, "delay": 0}, 1),
        ("outage", {"attempts": 3, "delay": 0, "errors": ["Outage"]}, 3),
        ("outage", {"attempts": 3, "delay": 0, "errors": ["ConnectionError"]}, 3),
        ("outage", {"attempts": 3, "delay": 0, "errors": ["OSError"]}, 3),
        ("outage", {"attempts": 3, "delay": 0, "errors": [f"{__name__}.Outage"]}, 3),
        ("outage", Retry(attempts=3, delay=0, errors=(OSError,)), 3),
        ("outage", {"attempts": 3, "delay": 0, "errors": ["Timeout", "elsewhere.Outage"]}, 1),
        ("value", {"attempts": 3, "delay": 0, "errors": ["OSError"]}, 1),
        ("outage", [{"attempts": 2, "delay": 0, "errors": ["OSError"]}, {"attempts": 5, "delay": 0}], 2),
        ("value", [{"attempts": 2, "delay": 0, "errors": ["OSError"]}, {"attempts": 5, "delay": 0}], 5),
    ],
)
def test_a_policy_is_chosen_by_the_errors_class(kind, retry, count) -> None:
    assert attempts(kind, retry) == count


def test_an_attempt_that_succeeds_is_the_last() -> None:
    run = start(
        [
            {
                "name": "one",
                "type": "tests.raise",
                "with": {"kind": "value", "until": 3},
                "retry": {"attempts": 9, "delay": 0},
            }
        ]
    )
    assert (run.status, history(run)) == ("done", ["one:failed", "one:failed", "one:done"])
    assert list(run.step_runs.order_by("attempt").values_list("attempt", "current")) == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_step_takes_its_handlers_policy_unless_it_has_its_own(register) -> None:
    @register("tests.own", retry=Retry(attempts=4, delay=0))
    def own() -> None:
        raise ValueError

    assert start([{"type": "tests.own"}]).step_runs.count() == 4
    assert start([{"type": "tests.own", "retry": {"attempts": 2, "delay": 0}}]).step_runs.count() == 2


@pytest.mark.parametrize(
    ("mapping", "kind", "next_step"),
    [
        ({"Outage": "near", "OSError": "far", "*": "fail"}, "outage", "near:done"),
        ({"OSError": "far", "ConnectionError": "near"}, "outage", "near:done"),
        ({"Exception": "far", "*": "near"}, "value", "far:done"),
        ({f"{__name__}.Outage": "near", "*": "far"}, "outage", "near:done"),
        ({"OSError": "near", "*": "continue"}, "value", "two:done"),
        ({"OSError": "near"}, "value", None),
        ({"PermanentError": "near", "*": "far"}, "refused", "near:done"),
        ({"LookupError": "continue", "KeyError": "near"}, "key", "near:done"),
    ],
)
def test_on_error_takes_the_nearest_class(mapping, kind, next_step) -> None:
    steps = [
        {"name": "one", "type": "tests.raise", "with": {"kind": kind}, "on_error": mapping},
        {"name": "two", "type": "tests.echo"},
        {"name": "near", "type": "tests.echo", "needs": "jump"},
        {"name": "far", "type": "tests.echo", "needs": "jump"},
        {
            "name": "use",
            "type": "tests.raise",
            "with": {"kind": "value"},
            "on_error": {"OSError": "near", "KeyError": "far"},
            "needs": [],
            "if": "False",
        },
    ]
    run = start(steps)
    done = [row for row in history(run) if row.endswith(":done")]
    assert done == ([] if next_step is None else [next_step])
    assert run.status == ("failed" if next_step is None else "done")


ERROR_PATH = [
    {
        "name": "one",
        "type": "tests.raise",
        "with": {"kind": "value", "until": "{{ until }}"},
        "on_error": "rescue",
    },
    {"name": "two", "type": "tests.echo"},
    {"name": "rescue", "type": "tests.note", "needs": "jump"},
    {"name": "after_rescue", "type": "tests.note"},
]


def test_an_error_path_does_not_run_on_the_happy_path() -> None:
    run = start(ERROR_PATH, {"until": 0})
    assert (run.status, history(run), run.output) == ("done", ["one:done", "two:done"], None)
    assert Note.objects.count() == 0


def test_an_error_path_runs_to_its_end_and_the_run_is_done() -> None:
    run = start(ERROR_PATH, {"until": 99})
    assert run.status == "done"
    assert sorted(history(run)) == ["after_rescue:done", "one:failed", "rescue:done", "two:skipped"]
    assert recorded(run) == ["rescue", "after_rescue"]
    assert step_run(run, "one").handled


def test_expressions_on_the_error_path_read_the_error() -> None:
    steps = [
        *ERROR_PATH[:2],
        {
            "name": "rescue",
            "type": "tests.echo",
            "needs": "jump",
            "with": {
                "value": [
                    "{{ error.type }}",
                    "{{ error.message }}",
                    "{{ error.step }}",
                    "{{ errors.one.message }}",
                    "{{ steps.one }}",
                ]
            },
        },
    ]
    assert start(steps, {"until": 99}).output == ["ValueError", "bad", "one", "bad", None]


def test_continue_goes_on_with_null_and_keeps_the_error() -> None:
    steps = [
        {"name": "one", "type": "tests.raise", "with": {"kind": "outage"}, "on_error": "continue"},
        {
            "name": "two",
            "type": "tests.echo",
            "with": {"value": ["{{ steps.one }}", "{{ errors.one.type }}"]},
        },
    ]
    run = start(steps)
    assert (run.status, run.output) == ("done", [None, f"{__name__}.Outage"])
    assert (run.error, run.error_type) == ("", "")


@pytest.mark.parametrize("sleeps", [True, False])
def test_two_branches_that_fail_into_one_handler_run_it_once(sleeps) -> None:
    rescue = {"type": "flow.sleep", "with": {"for": "1h"}} if sleeps else {"type": "tests.echo"}
    steps = [
        {"name": "left", "type": "tests.fail", "needs": [], "on_error": "rescue"},
        {"name": "right", "type": "tests.fail", "needs": [], "on_error": "rescue"},
        {"name": "rescue", "needs": "jump", **rescue},
    ]
    run = let_time_pass(start(steps))
    assert run.status == "done"
    assert run.step_runs.filter(step="rescue").count() == 1
    assert set(run.step_runs.filter(step="rescue").values_list("status", flat=True)) == {"done"}


def test_an_error_path_that_ends_in_flow_fail_fails_the_run() -> None:
    steps = [
        {"name": "one", "type": "tests.fail", "on_error": "give_up"},
        {
            "name": "give_up",
            "type": "flow.fail",
            "needs": "jump",
            "with": {"message": "because {{ error.message }}"},
        },
    ]
    run = start(steps)
    assert (run.status, run.error, run.step) == ("failed", "because broken", "give_up")


def test_a_failure_cancels_the_branches_that_wait() -> None:
    steps = [
        {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}, "needs": []},
        {"name": "one", "type": "tests.fail", "needs": []},
        {"name": "late", "type": "tests.echo", "needs": [], "delay": "1h"},
    ]
    run = start(steps)
    assert run.status == "failed"
    assert sorted(history(run)) == ["late:cancelled", "nap:cancelled", "one:failed"]
    assert let_time_pass(run).status == "failed"


def test_a_jump_to_nowhere_fails_with_the_steps_there_are(register) -> None:
    @register("tests.lost")
    def lost() -> Goto:
        return Goto("nowhere")

    run = start(
        [
            {"name": "one", "type": "tests.lost", "retry": {"attempts": 3}},
            {"name": "two", "type": "tests.echo"},
        ]
    )
    assert run.status == "failed"
    assert "Goto('nowhere')" in run.error
    assert "one, two" in run.error
    assert run.step_runs.count() == 1


ODD = [
    Unprintable(),
    Panic("unreachable"),
    KeyboardInterrupt("mine"),
    GeneratorExit("mine"),
    asyncio.CancelledError(),
    BaseExceptionGroup("g", [KeyError()]),
    BaseExceptionGroup("g", [KeyboardInterrupt(), Panic()]),
]


@pytest.mark.parametrize("error", ODD, ids=repr)
@pytest.mark.parametrize("kind", ["", "atomic", "idempotent", "async"])
def test_any_error_of_a_handler_is_a_failed_attempt(register, error, kind) -> None:
    def odd() -> None:
        raise error

    async def odd_in_a_loop() -> None:
        raise error

    register("tests.odd", atomic=kind == "atomic", idempotent=kind == "idempotent")(
        odd_in_a_loop if kind == "async" else odd
    )
    run = start(
        [{"name": "one", "type": "tests.odd", "retry": {"attempts": 2, "delay": 0}}, {"type": "tests.note"}]
    )
    row = step_run(run, "one", attempt=2)
    assert (fresh(run).status, history(run)) == ("failed", ["one:failed", "one:failed"])
    assert row.error_type.endswith(type(error).__name__)
    assert (bool(row.error), row.crashes) == (True, 0)


def test_an_error_that_is_no_exception_is_retried_and_handled_by_its_name(register) -> None:
    @register("tests.panic", retry=Retry(attempts=3, delay=0, errors=Panic))
    def panic() -> None:
        raise Panic("unreachable")

    steps = [{"name": "one", "type": "tests.panic", "on_error": {"Panic": "rescue"}}]
    run = start([*steps, {"name": "rescue", "type": "tests.note", "needs": "jump"}])
    assert (run.status, history(run)) == ("done", [*["one:failed"] * 3, "rescue:done"])


def test_an_error_that_is_no_exception_while_params_are_converted_is_a_failed_attempt(register) -> None:
    class Panicking(forms.Form):
        amount = forms.IntegerField()

        def clean_amount(self) -> int:
            raise Panic("unreachable")

    register("tests.panicking", form=Panicking)(lambda context, amount: amount)
    run = start(
        [{"name": "one", "type": "tests.panicking", "with": {"amount": "{{ amount }}"}}], {"amount": 1}
    )
    assert (run.status, step_run(run, "one").error) == ("failed", "unreachable")


def test_a_callback_after_the_commit_that_raises_no_exception_is_not_the_steps(register, caplog) -> None:
    def panic() -> None:
        raise Panic("unreachable")

    @register("tests.calls_back", atomic=True)
    def call_back() -> None:
        transaction.on_commit(panic)

    run = start([{"name": "one", "type": "tests.calls_back"}, {"name": "two", "type": "tests.note"}])
    assert (run.status, history(run)) == ("done", ["one:done", "two:done"])
    assert "Panic: unreachable" in caplog.text


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def interrupt_in_a_group() -> None:
    try:
        interrupt()
    except KeyboardInterrupt as error:
        raise BaseExceptionGroup("tasks", [error]) from None


@pytest.mark.parametrize(
    ("stop", "error", "crashes"),
    [
        (interrupt, KeyboardInterrupt, 0),
        (interrupt_in_a_group, BaseExceptionGroup, 0),
        (sys.exit, SystemExit, 1),
    ],
)
@pytest.mark.parametrize("atomic", [False, True])
def test_a_process_that_is_stopped_in_a_handler_gives_the_step_back(
    register, stop, error, crashes, atomic
) -> None:
    calls = []

    @register("tests.stopped", atomic=atomic)
    def stopped() -> None:
        calls.append(1)
        if len(calls) == 1:
            stop()

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(error):
        start([{"name": "one", "type": "tests.stopped"}])
    assert signal.getsignal(signal.SIGINT) is handler
    run = Run.objects.get()
    assert history(run) == ["one:pending"]
    assert let_time_pass(run).status == "done"
    assert step_run(run, "one").crashes == crashes
