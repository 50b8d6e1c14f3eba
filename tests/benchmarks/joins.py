"""W4: milliseconds for each of many children and their join, with one worker; the same at any number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .contestant import Contestant
from .marks import new_tags, wait_for
from .measuring import take_turns
from .peers import celery_solo
from .steps import joiners

CHILDREN = (20, 200, 2000)


def list_contestants(who: Sequence[str]) -> list[Contestant]:
    """Return everybody, ourselves first; or those with one of ``who`` in their name."""
    everybody = [*joiners(), *celery_solo.joiners()]
    return [each for each in everybody if not who or any(part in each.name for part in who)]


def race_joins(contestants: Sequence[Contestant], rounds: int) -> dict[str, float]:
    """Return the milliseconds for each child, from the start to the end of the join."""
    candidates = {
        f"{each.name}, {children}": _join(each, children) for children in CHILDREN for each in contestants
    }
    rates = take_turns(candidates, rounds)
    return {name: 1000 / rate for name, rate in rates.items()}


def _join(contestant: Contestant, children: int) -> Callable[[], int]:
    def candidate() -> int:
        tags = new_tags(1)
        contestant.start(tags[0], children)
        wait_for(tags)
        return children

    return candidate
