"""Celery: a chain; broker and results on Redis, default settings, the solo pool."""

from __future__ import annotations

from celery import Celery, chain, chord

from ..contestant import IDLE, Contestant
from ..marks import CELERY_BROKER, CELERY_RESULTS, advance, finish, socket_path

# Without the fixups, which make a Celery of any process with Django's settings a Django project.
app = Celery(
    "bench",
    broker=f"redis+socket://{socket_path()}?virtual_host={CELERY_BROKER}",
    backend=f"redis+socket://{socket_path()}?virtual_host={CELERY_RESULTS}",
    fixups=[],
)
_WORKER = ("-m", "celery", "-A", __name__, "worker", "-P", "solo", "-c", "1", "-l", "ERROR")
app.conf.broker_connection_retry_on_startup = True


@app.task(name="add")
def add(before: dict[str, int], place: int, steps: int, tag: str) -> dict[str, int]:
    """Add 1."""
    return {"value": advance(before["value"], place, steps, tag)}


@app.task(name="nothing")
def do_nothing() -> None:
    """Do nothing."""


@app.task(name="join")
def join(tag: str) -> None:
    """Mark the end, when all before have ended."""
    finish(tag)


def _start_chord(tag: str, children: int) -> None:
    chord([do_nothing.s() for _ in range(children)])(join.si(tag))


def joiners() -> list[Contestant]:
    """Return Celery's chord."""
    return [Contestant(name="Celery chord", start=_start_chord, worker=_WORKER, share=1.0)]


def _chain(tag: str, steps: int) -> chain:
    first = add.s({"value": 0}, 0, steps, tag)
    return chain([first, *(add.s(place, steps, tag) for place in range(1, steps))])


def contestants() -> list[Contestant]:
    """Return Celery."""
    return [
        Contestant(
            name="Celery solo",
            start=lambda tag, steps: _chain(tag, steps).apply_async(),
            worker=_WORKER,
            share=0.5,
            put=lambda tag: _chain(tag, 1).apply_async(queue=IDLE),
        )
    ]
