"""Step types and workflows of the benchmarks; the workers find them as they find any app's.

Each kind of step comes in two sorts. One does what the peers' steps do: it takes the former step's value,
here by ``steps.<former>.value``, and hands on a sum. An empty step takes and gives nothing.
"""

from __future__ import annotations

from django_workflow import define, step, trigger

from .contestant import FORKING, IDLE, SIMPLE, Contestant
from .marks import advance, finish

KINDS = ("plain", "idempotent", "atomic")
LENGTHS = (1, 10)
EMPTY = "empty "
WORKERS = {SIMPLE: "rq.SimpleWorker", FORKING: "rq.Worker"}
_TAG = {"tag": "{{ tag }}"}
# Plain steps commit one by one, and a turn of them has fewer runs.
_SHARES = {"plain": 0.5, "idempotent": 2.0, "atomic": 2.0}


def _register(kind: str) -> None:
    is_idempotent, is_atomic = kind == "idempotent", kind == "atomic"

    @step(f"bench.{kind}", idempotent=is_idempotent, atomic=is_atomic)
    def count(value: int, place: int, steps: int, tag: str) -> dict[str, int]:
        """Add 1."""
        return {"value": advance(value, place, steps, tag)}

    @step(f"bench.empty_{kind}", idempotent=is_idempotent, atomic=is_atomic)
    def do_nothing(tag: str = "") -> None:
        """Do nothing but to mark the end, where it is the last."""
        if tag:
            finish(tag)


for _kind in KINDS:
    _register(_kind)


def publish() -> None:
    """Publish a workflow for each kind and sort of step, queue and length."""
    for kind in KINDS:
        for queue in (*WORKERS, IDLE):
            for length in LENGTHS:
                _publish(kind, queue, [_count(kind, place, length) for place in range(length)])
                _publish(EMPTY + kind, queue, [_do_nothing(kind, place, length) for place in range(length)])


def publish_joins() -> None:
    """Publish the workflows of the race of children and their join: items, and items that call workflows."""
    nothing, join = {"name": "nothing", "type": "bench.empty_idempotent"}, {"name": "join", "with": _TAG}
    call = {"type": "flow.call", "with": {"workflow": "w4_child"}}
    define("w4_child", steps=[nothing], queue=SIMPLE)
    for name, each in (("items", {"type": "bench.empty_idempotent"}), ("calls", call)):
        steps = [{"name": "each", "for_each": "values", **each}, {**join, "type": "bench.empty_plain"}]
        define(f"w4_{name}", steps=steps, input={"tag": "str", "values": "list"}, queue=SIMPLE)


def joiners() -> list[Contestant]:
    """Return django_workflow with items and with called workflows; both with an idempotent no-op."""
    return [_joiner(name) for name in ("items", "calls")]


def _joiner(name: str) -> Contestant:
    def start(tag: str, children: int) -> None:
        trigger(f"w4_{name}", {"tag": tag, "values": list(range(children))})

    return Contestant(
        name=f"workflow {name}", start=start, worker=_worker(SIMPLE), share=1.0, needs_django=True
    )


def name_of(kind: str, queue: str, length: int) -> str:
    """Return the name of a workflow."""
    return f"{kind.replace(' ', '_')}_{queue}_{length}"


def _publish(kind: str, queue: str, steps: list[dict[str, object]]) -> None:
    define(name_of(kind, queue, len(steps)), steps=steps, input={"tag": "str"}, queue=queue)


def _count(kind: str, place: int, length: int) -> dict[str, object]:
    value = f"{{{{ steps.step_{place - 1}.value }}}}" if place else 0
    given = {"value": value, "place": place, "steps": length, "tag": "{{ tag }}"}
    return {"name": f"step_{place}", "type": f"bench.{kind}", "with": given}


def _do_nothing(kind: str, place: int, length: int) -> dict[str, object]:
    given = {"tag": "{{ tag }}"} if place == length - 1 else {}
    return {"name": f"step_{place}", "type": f"bench.empty_{kind}", "with": given}


def contestants() -> list[Contestant]:
    """Return django_workflow with each kind of step and worker, and empty steps with SimpleWorker."""
    both = [_contestant(kind, queue) for queue in WORKERS for kind in KINDS]
    return [*both, *(_contestant(EMPTY + kind, SIMPLE) for kind in KINDS)]


def _worker(queue: str) -> tuple[str, ...]:
    return ("-m", "django", "rqworker", queue, "--worker-class", WORKERS[queue], "-v", "0")


def _contestant(kind: str, queue: str) -> Contestant:
    def start(tag: str, steps: int) -> None:
        trigger(name_of(kind, queue, steps), {"tag": tag})

    return Contestant(
        name=f"workflow {kind}, {queue}",
        start=start,
        worker=_worker(queue),
        share=_SHARES[kind.removeprefix(EMPTY)],
        needs_django=True,
        is_timed=kind.endswith("plain"),
    )
