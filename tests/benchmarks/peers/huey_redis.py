"""Huey on Redis: a pipeline; the stock consumer with one thread."""

from __future__ import annotations

from huey import RedisHuey

from ..contestant import Contestant
from ..marks import HUEY, advance, socket_path

_URL = f"unix://{socket_path()}?db={HUEY}"
huey = RedisHuey("bench", url=_URL)
idle = RedisHuey("idle", url=_URL)


@huey.task()
def add(tag: str, steps: int, value: int = 0, place: int = 0) -> dict[str, int]:
    """Add 1; a dict becomes the next task's keyword arguments."""
    return {"value": advance(value, place, steps, tag), "place": place + 1}


@idle.task()
def add_never(tag: str, steps: int) -> None:
    """Wait in a queue that no consumer serves."""


def start(tag: str, steps: int) -> None:
    """Start a pipeline."""
    pipeline = add.s(tag, steps)
    for _ in range(steps - 1):
        pipeline = pipeline.then(add, tag, steps)
    huey.enqueue(pipeline)


def contestants() -> list[Contestant]:
    """Return huey."""
    consumer = ("-m", "huey.bin.huey_consumer", f"{__name__}.huey", "-w", "1", "-q")
    return [
        Contestant(
            name="huey on Redis", start=start, worker=consumer, share=2.0, put=lambda tag: add_never(tag, 1)
        )
    ]
