"""What the figures should be, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A figure of ours, as a ratio to another's where ``beside`` names one, and its lower or upper bound."""

    ours: str
    beside: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def describe(self, figures: Mapping[str, float]) -> str:
        """Return a line with the aim, what was reached, and whether that is enough."""
        reached = figures[self.ours] / (1 if self.beside is None else figures[self.beside])
        bound = f"at most {self.at_most:g}" if self.at_least is None else f"at least {self.at_least:g}"
        over = "" if self.beside is None else f" of {self.beside}"
        return f"  {self._judge(reached):<6}  {self.ours}: {reached:.2f}{over} ({bound})"

    def _judge(self, reached: float) -> str:
        is_low = self.at_least is not None and reached < self.at_least
        is_high = self.at_most is not None and reached > self.at_most
        return "MISSED" if is_low or is_high else "met"


def describe_aims(aims: Sequence[Aim], figures: Mapping[str, float]) -> str:
    """Return a line for each aim whose figures are there."""
    known = [each for each in aims if each.ours in figures and (each.beside or each.ours) in figures]
    return "\n".join(["Aims:", *(each.describe(figures) for each in known)]) if known else ""


# Every aim is judged twice: with steps that do what the peers' do, and with empty ones.
SORTS = ("workflow", "workflow empty")
PLAIN = [f"{sort} plain" for sort in SORTS]
SHARED = [f"{sort} {kind}" for sort in SORTS for kind in ("idempotent", "atomic")]

STEPS = [
    *(Aim(ours=f"{kind}, simple", beside="huey on Redis", at_least=2) for kind in SHARED),
    *(Aim(ours=f"{kind}, simple", beside="Celery solo", at_least=6) for kind in SHARED),
    *(Aim(ours=f"{kind}, simple", beside="Celery solo", at_least=2) for kind in PLAIN),
    *(Aim(ours=f"{kind}, simple", beside="RQ, simple", at_least=4) for kind in PLAIN),
    *(
        Aim(ours=f"workflow {kind}, forking", beside=f"workflow {kind}, simple", at_least=0.9)
        for kind in ("plain", "idempotent", "atomic")
    ),
]
# The aim of SQLite is less: one writer at a time.
STEPS_ON_SQLITE = [Aim(ours=f"{kind}, simple", beside="huey on Redis", at_least=1) for kind in SHARED]
STARTS = [
    Aim(ours="trigger", beside="Celery solo", at_least=0.7),
    Aim(ours="trigger_many", beside="huey on Redis", at_least=1),
]
JOINS = [
    *(
        Aim(ours=f"workflow {each}, 200", beside="Celery chord, 200", at_most=1)
        for each in ("items", "calls")
    ),
    *(
        Aim(ours=f"workflow {each}, {many}", beside=f"workflow {each}, 20", at_most=1.2)
        for each in ("items", "calls")
        for many in ("200", "2000")
    ),
]
LATENCIES = [
    *(Aim(ours=f"{kind}, simple, 10 steps", beside="Celery solo, 10 steps", at_most=1) for kind in PLAIN),
    *(Aim(ours=f"{kind}, simple, 1 step", beside="RQ, simple, 1 step", at_most=2) for kind in PLAIN),
    Aim(ours="workflow plain, forking, 1 step, lingering", at_most=15),
]
