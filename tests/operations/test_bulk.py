"""Bulk actions: each run once, whoever dies, takes over or comes at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.models import Model
from django.db.models.signals import post_save
from django.dispatch import Signal
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_workflow import cancel_run, define, retry_run, trigger
from django_workflow.engine.bulk import MOST_REFUSALS, advance, due_bulk_actions, start_bulk
from django_workflow.engine.gate import lock_run
from django_workflow.engine.run_filters import RunFilters, read_filters, select_runs
from django_workflow.engine.tick import tick
from django_workflow.models import BulkAction, Run, RunAction
from django_workflow.signals import run_finished
from django_workflow.status import RunStatus
from tests.support.bulk_runs import (
    FAIL,
    NAP,
    attempts,
    begin,
    counts,
    finish,
    fresh,
    let_lease_expire,
    several,
    times_done,
)
from tests.support.runs import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[[Signal, Callable[..., None]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return what connects a receiver to a signal, for one test."""
    connected: list[tuple[Signal, Callable[..., None]]] = []

    def do(signal: Signal, receiver: Callable[..., None]) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield do
    for signal, receiver in connected:
        signal.disconnect(receiver)


def statuses() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("status", flat=True))


# What it does


def test_each_run_that_fits_is_done_once() -> None:
    several(3, FAIL)
    several(2, FAIL, name="elsewhere")
    bulk = finish(begin("retry", workflow="flow"))
    assert counts(bulk) == (3, 3, 0)
    assert bulk.finished_at is not None
    assert sorted(attempts()) == [1, 1, 2, 2, 2]


def test_who_did_it_and_why_is_kept_with_each_run() -> None:
    user = User.objects.create_user("staff")
    runs = several(2, NAP)
    bulk = start_bulk("cancel", RunFilters(workflow="flow"), by=user, note="not\0 needed", using="default")
    finish(bulk)
    actions = RunAction.objects.order_by("run_id")
    assert [(each.run, each.verb, each.by, each.bulk) for each in actions] == [
        (run, "cancel", user, bulk) for run in runs
    ]
    assert {each.note for each in actions} == {fresh(bulk).note} == {"not\ufffd needed"}


def test_it_goes_on_for_nobody_when_the_user_is_gone() -> None:
    user = User.objects.create_user("staff")
    several(1, NAP)
    bulk = start_bulk("cancel", RunFilters(), by=user, using="default")
    User.objects.all().delete()
    finish(bulk)
    assert RunAction.objects.get().by is None


def test_only_an_action_of_its_own_is_marked_as_the_bulk_actions() -> None:
    (run,) = several(1, FAIL)
    retry_run(run)
    finish(begin("retry"))
    assert list(RunAction.objects.order_by("pk").values_list("bulk__verb", flat=True)) == [None, "retry"]


def test_runs_that_come_later_are_none_of_its() -> None:
    several(2, NAP)
    bulk = begin("cancel", workflow="flow")
    trigger("flow")
    assert counts(finish(bulk)) == (2, 2, 0)
    assert statuses() == ["cancelled", "cancelled", "waiting"]


def test_where_nothing_fits_it_is_finished_at_once() -> None:
    bulk = begin("retry")
    assert bulk.finished_at is not None
    assert not advance("default", bulk.pk)


def test_a_run_that_does_not_fit_any_more_when_its_turn_comes_is_left_alone(connect: Connect) -> None:
    runs = several(3, NAP)

    def cancel_last(sender: Any, run: Run, **kwargs: Any) -> None:
        if run.pk == runs[0].pk:
            cancel_run(runs[2].pk)

    connect(run_finished, cancel_last)
    bulk = finish(begin("cancel"))
    assert counts(bulk) == (3, 2, 0)
    assert times_done(bulk) == [1, 1, 1]


def test_a_run_that_is_deleted_meanwhile_is_passed_by(connect: Connect) -> None:
    runs = several(3, NAP)

    def delete_last(sender: Any, run: Run, **kwargs: Any) -> None:
        Run.objects.filter(pk=runs[2].pk).delete()

    connect(run_finished, delete_last)
    assert counts(finish(begin("cancel"))) == (3, 2, 0)


def test_what_is_refused_is_counted_with_the_first_reasons() -> None:
    several(MOST_REFUSALS + 2, {"type": "flow.end"})
    bulk = finish(begin("cancel", status=("done",)))
    assert counts(bulk) == (22, 0, 22)
    assert len(bulk.refusals) == MOST_REFUSALS
    assert all("final run cannot be cancelled" in reason for reason in bulk.refusals.values())
    assert RunAction.objects.count() == 0


def test_a_run_that_is_broken_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    runs = several(3, FAIL)
    Run.objects.filter(pk=runs[1].pk).update(version=None)
    bulk = finish(begin("retry"))
    assert counts(bulk) == (3, 2, 1)
    assert list(bulk.refusals) == [str(runs[1].pk)]
    assert str(runs[1].pk) in caplog.text


# Who dies, and who goes on


def test_a_process_that_dies_before_the_commit_has_done_nothing_to_that_run(connect: Connect) -> None:
    runs = several(4, NAP)

    def die(sender: type[Model], instance: Any, **kwargs: Any) -> None:
        if sender is RunAction and instance.run_id == runs[2].pk:
            post_save.disconnect(die)
            raise KeyboardInterrupt

    connect(post_save, die)
    bulk = begin("cancel")
    with pytest.raises(KeyboardInterrupt):
        advance("default", bulk.pk)
    assert (counts(bulk), statuses()) == ((4, 2, 0), ["cancelled", "cancelled", "waiting", "waiting"])
    assert not advance("default", bulk.pk)
    let_lease_expire(bulk)
    assert counts(finish(bulk)) == (4, 4, 0)
    assert times_done(bulk) == [1] * 4


def test_a_process_that_dies_after_the_commit_has_done_that_run(register: Callable[..., Any]) -> None:
    tries: list[int] = []

    @register("tests.dies")
    def dies() -> None:
        tries.append(1)
        if len(tries) == 5:
            raise SystemExit(9)
        raise ValueError

    several(3, {"type": "tests.dies"})
    bulk = begin("retry")
    with pytest.raises(SystemExit):
        advance("default", bulk.pk)
    assert counts(bulk) == (3, 2, 0)
    let_lease_expire(bulk)
    assert counts(finish(bulk)) == (3, 3, 0)
    assert times_done(bulk) == [1] * 3


def test_who_was_taken_over_from_changes_no_other_run(connect: Connect) -> None:
    runs = several(3, NAP)
    bulk = begin("cancel")
    elsewhere = timezone.now() + timedelta(minutes=5)

    def take_over(sender: Any, **kwargs: Any) -> None:
        BulkAction.objects.update(due_at=elsewhere)

    connect(run_finished, take_over)
    assert not advance("default", bulk.pk)
    assert statuses() == ["cancelled", "waiting", "waiting"]
    assert RunAction.objects.filter(run__in=runs[1:]).count() == 0
    assert fresh(bulk).due_at == elsewhere


def test_two_processes_at_once_do_each_run_once() -> None:
    several(20, NAP)
    bulk = begin("cancel")

    def go_on() -> None:
        while fresh(bulk).finished_at is None:
            advance("default", bulk.pk, seconds=0.02)

    in_threads(go_on, go_on, go_on)
    assert counts(bulk) == (20, 20, 0)
    assert times_done(bulk) == [1] * 20


def test_a_slice_that_is_over_leaves_the_rest_to_anybody() -> None:
    several(3, NAP)
    bulk = begin("cancel")
    assert advance("default", bulk.pk, seconds=0)
    assert counts(bulk) == (3, 1, 0)
    assert due_bulk_actions("default") == [bulk.pk]


def test_a_run_whose_lock_is_held_is_not_waited_for() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("one writer at a time")
    runs = several(3, NAP)
    bulk, is_held, may_end = begin("cancel"), threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            lock_run("default", runs[1].pk)
            is_held.set()
            may_end.wait(20)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(20)
    has_more = advance("default", bulk.pk)
    may_end.set()
    holder.join()
    assert (has_more, counts(bulk)) == (False, (3, 1, 0))
    let_lease_expire(bulk)
    assert counts(finish(bulk)) == (3, 3, 0)


# The clock


def test_the_clock_goes_on_with_it_to_its_end() -> None:
    several(3, FAIL)
    bulk = begin("retry")
    tick("default", is_stopping=lambda: False)
    assert counts(bulk) == (3, 3, 0)
    assert fresh(bulk).finished_at is not None


def test_the_clock_leaves_alone_what_somebody_goes_on_with() -> None:
    several(2, FAIL)
    bulk = begin("retry")
    BulkAction.objects.update(due_at=timezone.now() + timedelta(seconds=30))
    tick("default", is_stopping=lambda: False)
    assert counts(bulk) == (2, 0, 0)


def test_a_clock_that_is_to_stop_begins_no_run() -> None:
    several(2, FAIL)
    bulk = begin("retry")
    tick("default", is_stopping=lambda: True)
    assert counts(bulk) == (2, 0, 0)


# Filters


@pytest.fixture
def five() -> dict[str, Run]:
    """Return five runs by what is special about each."""
    define("flow", steps=[FAIL])
    define("nap", steps=[NAP])
    define("refuse", steps=[{"name": "refuse", "type": "tests.fail_for_good"}])
    runs = {
        "failed": trigger("flow"),
        "keyed": trigger("flow", key="k"),
        "napping": trigger("nap"),
        "refused": trigger("refuse"),
        "old": trigger("flow"),
    }
    Run.objects.filter(pk=runs["old"].pk).update(created_at=timezone.now() - timedelta(days=2))
    return runs


YESTERDAY = timezone.now() - timedelta(days=1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"failed", "keyed", "napping", "refused", "old"}),
        ({"workflow": "flow"}, {"failed", "keyed", "old"}),
        ({"workflow": "no"}, set()),
        ({"status": ("waiting",)}, {"napping"}),
        ({"status": ("waiting", "failed")}, {"failed", "keyed", "napping", "refused", "old"}),
        ({"error": "ValueError"}, {"failed", "keyed", "old"}),
        ({"error": "PermanentError"}, {"refused"}),
        ({"error": "django_workflow.exceptions.PermanentError"}, {"refused"}),
        ({"error": "Error"}, set()),
        ({"key": "k"}, {"keyed"}),
        ({"step": "nap"}, {"napping"}),
        ({"step": "refuse"}, {"refused"}),
        ({"created_before": YESTERDAY}, {"old"}),
        ({"created_after": YESTERDAY, "workflow": "flow"}, {"failed", "keyed"}),
    ],
)
def test_filters_find_the_runs_that_fit_all(
    five: dict[str, Run], filters: dict[str, Any], expected: set[str]
) -> None:
    ids = set(select_runs("default", RunFilters(**filters)).values_list("pk", flat=True))
    assert {name for name, run in five.items() if run.pk in ids} == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@given(
    st.builds(
        RunFilters,
        workflow=TEXT,
        status=st.lists(st.sampled_from(RunStatus.values), unique=True).map(tuple),
        error=TEXT,
        created_before=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_filters_are_read_back_from_their_row(filters: RunFilters) -> None:
    assert read_filters(filters.as_json()) == filters
    assert filters.is_empty == (filters == RunFilters())


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: RunFilters(status=("gone",)), "status 'gone'"),
        (lambda: read_filters({"colour": "red"}), "'colour' is no filter"),
        (lambda: begin("delete"), "'delete' cannot be done to many runs"),
        (
            lambda: start_bulk("retry", RunFilters(), arguments={"name": "x"}, using="default"),
            "takes no 'name'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        call()
    assert BulkAction.objects.count() == 0


def test_moments_are_kept_as_they_were_when_it_began() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    several(1, FAIL)
    assert read_filters(begin("retry", created_before=moment).filters).created_before == moment
