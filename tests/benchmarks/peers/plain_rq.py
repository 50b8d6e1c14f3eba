"""RQ without anything: a job a step, joined by ``depends_on`` or by hand."""

from __future__ import annotations

from rq import Queue, get_current_job
from rq.job import Job

from ..contestant import FORKING, IDLE, SIMPLE, Contestant
from ..marks import PLAIN_RQ, advance, connect, socket_path

_connection = connect(PLAIN_RQ)
_WORKERS = {SIMPLE: "rq.SimpleWorker", FORKING: "rq.Worker"}
_SHARES = {SIMPLE: 0.2, FORKING: 0.05}


def add(place: int, steps: int, tag: str) -> dict[str, int]:
    """Add 1 to what the job before returned."""
    before = 0
    if place:
        (job,) = _current().fetch_dependencies()
        before = job.return_value()["value"]
    return {"value": advance(before, place, steps, tag)}


def add_and_go_on(value: int, place: int, steps: int, tag: str) -> dict[str, int]:
    """Add 1 and enqueue the next step, as one does by hand."""
    value = advance(value, place, steps, tag)
    if place + 1 < steps:
        job = _current()
        Queue(job.origin, connection=job.connection).enqueue(add_and_go_on, value, place + 1, steps, tag)
    return {"value": value}


def _current() -> Job:
    job = get_current_job()
    assert job is not None
    return job


def contestants() -> list[Contestant]:
    """Return RQ with both kinds of worker."""
    joined = [_joined(queue) for queue in _WORKERS]
    return [*joined, _by_hand()]


def _joined(name: str) -> Contestant:
    queue, idle = Queue(name, connection=_connection), Queue(IDLE, connection=_connection)

    def start(tag: str, steps: int) -> None:
        job = None
        for place in range(steps):
            job = queue.enqueue(add, place, steps, tag, depends_on=job)

    return Contestant(
        name=f"RQ, {name}",
        start=start,
        worker=_worker(name),
        share=_SHARES[name],
        put=(lambda tag: idle.enqueue(add, 0, 1, tag)) if name == SIMPLE else None,
    )


def _by_hand() -> Contestant:
    queue = Queue(SIMPLE, connection=_connection)
    return Contestant(
        name=f"RQ, {SIMPLE}, by hand",
        start=lambda tag, steps: queue.enqueue(add_and_go_on, 0, 0, steps, tag),
        worker=_worker(SIMPLE),
        share=_SHARES[SIMPLE],
        is_timed=False,
    )


def _worker(name: str) -> tuple[str, ...]:
    url = f"unix://{socket_path()}?db={PLAIN_RQ}"
    return ("-m", "rq.cli", "worker", "--url", url, "--worker-class", _WORKERS[name], "--quiet", name)
