"""How the end of a run is seen, the same for all: its last step's body pushes the run's tag to a Redis list.

So no system's own way to ask for results is part of the measure.
"""

from __future__ import annotations

import os
from functools import cache
from itertools import count

from redis import Redis

# The databases of the private Redis; 0 is that of RQ_QUEUES.
CELERY_BROKER, CELERY_RESULTS, HUEY, PLAIN_RQ, MARKS = 1, 2, 3, 4, 9
PATIENCE_SECONDS = 120
_LIST = "marks"
_numbers = count()


def socket_path() -> str:
    """Return the path of the private Redis's socket, as the settings have it."""
    return os.environ["WORKFLOW_TEST_FILES"] + "-redis.sock"


def connect(database: int) -> Redis:
    """Return a client of the private Redis."""
    return Redis(unix_socket_path=socket_path(), db=database)


@cache
def _client() -> Redis:
    return connect(MARKS)


def new_tags(amount: int) -> list[str]:
    """Return names for so many runs that no run had before."""
    return [f"run-{next(_numbers)}" for _ in range(amount)]


def advance(value: int, place: int, steps: int, tag: str) -> int:
    """Do the work of a step: add 1 to the former step's value; in the last step check the sum and mark the
    end."""
    value += 1
    if place == steps - 1:
        if value != steps:
            raise ValueError(f"{tag}: the last of {steps} steps has the value {value}")
        finish(tag)
    return value


def finish(tag: str) -> None:
    """Mark the end of a run."""
    _client().rpush(_LIST, tag)


def wait_for(tags: list[str]) -> None:
    """Return when every run has set its mark; raise ``TimeoutError`` when none does for a long while."""
    missing = set(tags)
    while missing:
        first = _client().blpop([_LIST], timeout=PATIENCE_SECONDS)
        if first is None:
            raise TimeoutError(f"{len(missing)} of {len(tags)} runs set no mark")
        found = [first[1], *(_client().lpop(_LIST, 1000) or [])]
        missing.difference_update(each.decode() for each in found)
