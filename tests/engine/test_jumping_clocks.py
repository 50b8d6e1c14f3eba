"""A machine that was suspended, a clock that is put right, a test tool that freezes the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_workflow.engine import now
from django_workflow.engine.clocks import beat
from django_workflow.engine.now import database_now
from django_workflow.engine.recover import recover_expired
from django_workflow.engine.stuck import recover_stuck
from django_workflow.models import Clock, Run, StepRun
from tests.support.crashes import be_in_touch, crash
from tests.support.runs import fresh, step_run, waiting_run

pytestmark = pytest.mark.django_db
HOUR, YEARS = 3600.0, 1e9
MONOTONIC, WALL = time.monotonic, time.time
Jump = Callable[..., None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jump]:
    """Return what moves the clocks of this machine by so many seconds from where they really are."""

    def move(*, monotonic: float = 0, wall: float = 0) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: MONOTONIC() + monotonic)
        monkeypatch.setattr(time, "time", lambda: WALL() + wall)

    yield move
    move()


def is_right(moment: Any) -> bool:
    return bool(abs(moment - timezone.now()) < timedelta(seconds=30))


@pytest.mark.parametrize(
    "before",
    [
        {"monotonic": HOUR},
        {"monotonic": YEARS},
        {"monotonic": -HOUR},
        {"wall": -HOUR},
        {"monotonic": YEARS, "wall": YEARS},
        {"monotonic": -YEARS, "wall": -YEARS},
    ],
    ids=str,
)
def test_the_time_is_read_again_when_a_clock_of_this_machine_has_jumped(
    jump: Jump, before: dict[str, float], django_assert_num_queries: Any
) -> None:
    jump(**before)
    with django_assert_num_queries(1):
        assert [database_now("default") for _ in range(3)]
    jump()
    with django_assert_num_queries(1):
        assert is_right(database_now("default"))
        assert is_right(database_now("default"))


def test_the_time_is_carried_on_while_the_clocks_of_this_machine_agree(
    jump: Jump, django_assert_num_queries: Any
) -> None:
    first = database_now("default")
    jump(monotonic=15, wall=15)
    with django_assert_num_queries(0):
        assert timedelta(seconds=15) <= database_now("default") - first < timedelta(seconds=25)


def test_the_time_does_not_go_back_when_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch, jump: Jump, django_assert_num_queries: Any
) -> None:
    first = database_now("default")
    monkeypatch.setattr(now, "READ_AGAIN_AFTER", 0.1)
    # As after an answer that was half a second quicker than the next.
    jump(monotonic=0.5, wall=0.5)
    with django_assert_num_queries(1):
        assert database_now("default") - first >= timedelta(seconds=0.5)


def test_the_time_heals_after_it_stood_still(
    monkeypatch: pytest.MonkeyPatch, jump: Jump, django_assert_num_queries: Any
) -> None:
    monotonic, wall = MONOTONIC(), WALL()
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    monkeypatch.setattr(time, "time", lambda: wall)
    assert database_now("default") == database_now("default")
    # Only the monotonic clock stands still, as while a machine is suspended.
    monkeypatch.setattr(time, "time", lambda: wall + HOUR)
    with django_assert_num_queries(1):
        assert is_right(database_now("default"))


def test_after_a_suspension_the_living_renew_before_their_steps_are_taken_over(jump: Jump) -> None:
    run = waiting_run([{"type": "tests.note"}])
    be_in_touch()
    crash(run, "first")
    jump(wall=HOUR)
    assert recover_expired("default") == 0
    StepRun.objects.update(due_at=timezone.now() + timedelta(minutes=1))
    jump(monotonic=60, wall=HOUR + 60)
    assert (recover_expired("default"), step_run(run, "first").status) == (0, "running")


@pytest.mark.parametrize("seconds", [-YEARS, YEARS])
def test_a_clock_says_that_it_is_alive_after_the_time_was_frozen(jump: Jump, seconds: float) -> None:
    jump(monotonic=seconds)
    beat("default")
    Clock.objects.update(ticked_at=timezone.now() - timedelta(hours=1))
    jump()
    beat("default")
    assert is_right(Clock.objects.get().ticked_at)


@pytest.mark.parametrize("seconds", [-YEARS, YEARS])
def test_what_nothing_moves_is_found_after_the_time_was_frozen(jump: Jump, seconds: float) -> None:
    jump(monotonic=seconds)
    assert recover_stuck("default") == 0
    jump()
    run = waiting_run([{"type": "tests.note"}])
    StepRun.objects.update(due_at=None)
    assert recover_stuck("default") == 1
    assert (fresh(run).status, Run.objects.count()) == ("pending", 1)
