"""The rows by which others see that a clock is alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from django_workflow import elapsed
from django_workflow.engine.clocks import alive_clocks, beat, leave
from django_workflow.engine.who import worker_name
from django_workflow.models import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets the last beat of this process be so many seconds ago, for itself and in its row."""

    def age(seconds: float) -> None:
        Clock.objects.update(ticked_at=timezone.now() - timedelta(seconds=seconds))
        now = time.monotonic() + seconds
        monkeypatch.setattr(elapsed, "time", SimpleNamespace(monotonic=lambda: now))

    return age


def test_a_clock_that_beats_is_alive_until_it_leaves() -> None:
    beat("default")
    (clock,) = alive_clocks("default")
    assert (clock.name, clock.started_at) == (worker_name(), clock.ticked_at)
    leave("default")
    assert not Clock.objects.exists()


def test_a_clock_writes_every_ten_seconds(age, django_assert_num_queries) -> None:
    beat("default")
    first = Clock.objects.get()
    with django_assert_num_queries(0):
        beat("default")
    age(11)
    beat("default")
    again = Clock.objects.get()
    assert (again.pk, again.started_at) == (first.pk, first.started_at)
    assert again.ticked_at >= first.ticked_at


@pytest.mark.parametrize(("seconds", "is_alive"), [(20, True), (31, False)])
def test_a_clock_that_says_nothing_is_dead(age, seconds, is_alive) -> None:
    beat("default")
    age(seconds)
    assert bool(alive_clocks("default")) == is_alive


def test_a_process_that_follows_one_of_the_same_name_begins_its_own_life() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Clock.objects.create(name=worker_name(), started_at=long_ago, ticked_at=long_ago)
    beat("default")
    clock = Clock.objects.get()
    assert clock.started_at == clock.ticked_at > long_ago


def test_clocks_that_are_dead_for_a_day_are_forgotten() -> None:
    now = timezone.now()
    for hours in (23, 25):
        Clock.objects.create(name=f"{hours}", started_at=now, ticked_at=now - timedelta(hours=hours))
    beat("default")
    assert set(Clock.objects.values_list("name", flat=True)) == {"23", worker_name()}
