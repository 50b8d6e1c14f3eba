"""One run per workflow and key, and workflows that are switched off."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from django_workflow import (
    VerbRefused,
    WorkflowNotFound,
    approve,
    cancel_run,
    define,
    send_event,
    trigger,
    trigger_many,
)
from django_workflow.engine.run_filters import RunFilters
from django_workflow.models import Run, Workflow
from tests.support.runs import in_threads
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def flow() -> Workflow:
    return define("flow", steps=[{"type": "tests.note"}])


def test_the_same_key_twice_is_one_run() -> None:
    first, second = trigger("flow", key="k"), trigger("flow", key="k")
    assert first.pk == second.pk
    assert (first.was_created, second.was_created) == (True, False)
    assert (second.status, Note.objects.count()) == ("done", 1)


def test_a_key_is_kept_whatever_became_of_its_run() -> None:
    define("failing", steps=[{"type": "tests.fail"}])
    trigger("failing", key="k")
    again = trigger("failing", key="k")
    assert (again.was_created, again.status) == (False, "failed")


def test_a_key_belongs_to_its_workflow() -> None:
    define("other", steps=[{"type": "tests.note"}])
    assert trigger("flow", key="k").pk != trigger("other", key="k").pk


def test_runs_without_a_key_are_as_many_as_triggers() -> None:
    assert trigger("flow").pk != trigger("flow").pk


def test_a_second_trigger_does_not_break_the_callers_transaction() -> None:
    trigger("flow", key="k")
    with transaction.atomic():
        Note.objects.create(text="before")
        assert not trigger("flow", key="k").was_created
        Note.objects.create(text="after")
    assert Note.objects.filter(text__in=["before", "after"]).count() == 2


def test_both_triggers_in_one_transaction_are_one_run() -> None:
    with transaction.atomic():
        first, second = trigger("flow", key="k"), trigger("flow", key="k")
    assert first.pk == second.pk
    assert Note.objects.count() == 1


def test_a_key_that_was_rolled_back_is_free() -> None:
    with transaction.atomic():
        trigger("flow", key="k")
        transaction.set_rollback(True)
    assert trigger("flow", key="k").was_created


def test_eight_threads_with_one_key_make_one_run() -> None:
    runs = in_threads(*[lambda: trigger("flow", key="k")] * 8)
    assert len({run.pk for run in runs}) == 1
    assert [run.was_created for run in runs].count(True) == 1
    assert Run.objects.count() == Note.objects.count() == 1


def test_eight_threads_with_many_keys_in_any_order_make_one_run_each() -> None:
    keys = [f"k{number}" for number in range(10)]

    def order(number: int) -> list[str]:
        return keys[number:] + keys[:number]

    in_threads(*(lambda n=n: trigger_many("flow", [{}] * 10, keys=order(n)) for n in range(8)))
    assert sorted(Run.objects.values_list("key", flat=True)) == keys
    assert Note.objects.count() == 10


def test_trigger_many_finds_earlier_runs_and_its_own_doubles() -> None:
    earlier = trigger("flow", key="b")
    runs = trigger_many("flow", [{"n": n} for n in range(4)], keys=["c", "b", "a", "c"])
    assert [run.key for run in runs] == ["c", "b", "a", "c"]
    assert runs[1].pk == earlier.pk
    assert runs[0].pk == runs[3].pk
    assert runs[0].input == {"n": 0}
    assert [run.was_created for run in runs] == [True, False, True, False]
    assert Run.objects.count() == 3


def test_trigger_many_wants_as_many_keys_as_inputs() -> None:
    with pytest.raises(ValueError, match="2 inputs and 1 keys"):
        trigger_many("flow", [{}, {}], keys=["a"])


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "\ud800"])
def test_a_key_that_no_database_takes_is_refused_alike(key) -> None:
    with pytest.raises(ValueError, match=r"key|NUL|surrogate"):
        trigger("flow", key=key)
    with pytest.raises(ValueError, match=r"key|NUL|surrogate"):
        trigger_many("flow", [{}], keys=[key])
    assert Run.objects.count() == 0


def test_a_key_of_255_characters_beyond_ascii_is_one() -> None:
    assert trigger("flow", key="ü" * 255).pk == trigger("flow", key="ü" * 255).pk


def test_a_workflow_switched_off_does_not_break_its_receiver() -> None:
    Workflow.objects.update(enabled=False)
    with transaction.atomic():
        Note.objects.create(text="the receiver's own row")
        run = trigger("flow", key="k")
    assert (run.status, run.key) == ("cancelled", None)
    assert "'flow' is switched off" in run.error
    assert run.finished_at is not None
    assert run.step_runs.count() == 0
    assert Note.objects.count() == 1


def test_a_key_is_free_again_when_the_workflow_is_switched_on() -> None:
    Workflow.objects.update(enabled=False)
    trigger("flow", key="k")
    Workflow.objects.update(enabled=True)
    run = trigger("flow", key="k")
    assert (run.was_created, run.status) == (True, "done")


def test_many_triggers_of_a_workflow_switched_off_are_all_cancelled() -> None:
    Workflow.objects.update(enabled=False)
    runs = trigger_many("flow", [{}, {}], keys=["a", "b"])
    assert [(run.status, run.key) for run in runs] == [("cancelled", None)] * 2


def test_a_run_is_found_by_workflow_and_key() -> None:
    define("late", steps=[{"type": "tests.note", "delay": "1h"}])
    run = trigger("late", key="k")
    assert cancel_run(("late", "k")).pk == run.pk


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
def test_text_that_no_database_takes_finds_nothing(text: str) -> None:
    run = trigger("flow")
    calls = (
        partial(trigger, text),
        partial(cancel_run, ("flow", text)),
        partial(cancel_run, (text, "key")),
        partial(cancel_run, text),
        partial(send_event, (text, "key"), "paid"),
    )
    for call in calls:
        with pytest.raises(WorkflowNotFound):
            call()
    assert run.output_of(text) is None
    assert not Run.objects.search(text).exists()
    with pytest.raises(VerbRefused):
        approve(run, text, by=User.objects.create_superuser("root"))
    with pytest.raises(ValueError, match="a key is text of 1 to 255"):
        send_event(("flow", text), "paid")
    with pytest.raises(ValueError, match="the filter key has a NUL or a lone surrogate"):
        RunFilters(key=text)
