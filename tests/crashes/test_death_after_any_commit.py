"""A process dies after any commit: clocks and workers go on, and in the end all is as if nobody had died."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

from django_workflow.engine.now import set_clock
from django_workflow.models import Run, StepRun
from django_workflow.status import FINAL_RUN
from tests.support.dying import Fate, Portrait, delete_runs, portray, tell
from tests.support.stories import STORIES, Story, register_all

pytestmark = pytest.mark.django_db(transaction=True)
# Of the commits of a story each eighth is tried, from another on each time; in the long form all, by 1.
STRIDE = int(os.environ.get("WORKFLOW_TEST_STRIDE", "8"))
# How often a story is told in which one process dies after the other.
SEEDS = int(os.environ.get("WORKFLOW_TEST_SEEDS", "1"))
ALL = pytest.mark.parametrize("name", STORIES)


@pytest.fixture(autouse=True)
def held(register: Callable[..., Any], settings: Any) -> Iterator[None]:
    """Register the step types, hold the clock, and let no number of deaths be poison."""
    register_all(register)
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_CRASHES": 1000}
    yield
    set_clock(None)


def portrait_of(story: Story, fate: Fate) -> Portrait:
    """Tell the story anew and return what is there in the end."""
    delete_runs()
    set_clock(timezone.now())
    tell(story, fate)
    assert not Run.objects.exclude(status__in=FINAL_RUN).exists()
    assert not StepRun.objects.live().exists()
    return portray()


@ALL
def test_death_after_any_commit_changes_nothing(name: str) -> None:
    story = STORIES[name]
    story.define()
    undisturbed = Fate()
    expected = portrait_of(story, undisturbed)
    ends = range(random.randint(1, STRIDE), undisturbed.commits + 1, STRIDE)
    deaths = 0
    for end in ends:
        fate = Fate(ends=[end])
        assert portrait_of(story, fate) == expected, f"died after commit {end}"
        deaths += fate.deaths
    # A telling may have a commit less than the first, and so outlive the last of them.
    assert deaths >= len(ends) - 2


@ALL
@pytest.mark.parametrize("seed", range(SEEDS))
def test_one_death_after_the_other_changes_nothing(name: str, seed: int) -> None:
    story, drawn = STORIES[name], random.Random(f"{name} {seed}")
    story.define()
    expected = portrait_of(story, Fate())
    fate = Fate(ends=(drawn.randint(1, 6) for _ in range(40)))
    assert portrait_of(story, fate) == expected
    assert fate.deaths
