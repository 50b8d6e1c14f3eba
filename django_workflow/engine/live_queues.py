"""The queues that have something which is not final, however many rows each of them has."""

from __future__ import annotations

from collections.abc import Iterator

from ..models import StepRun


def live_queues(using: str) -> Iterator[str]:
    """Yield each queue that has step runs which are not final.

    One step in the index for each: it costs the same however many sleep there.
    """
    rows = StepRun.objects.using(using).live().order_by("queue").values_list("queue", flat=True)
    queue = rows.first()
    while queue is not None:
        yield queue
        queue = rows.filter(queue__gt=queue).first()
