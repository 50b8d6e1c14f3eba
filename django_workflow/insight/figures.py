"""How the latest runs of workflows went: their statuses, the rate of success, how long they take."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef, Q, Subquery

from ..models import Run, StepRun, Workflow
from ..status import RunStatus
from .spans import seconds_taken

# So many of the latest runs are judged,
JUDGED = 100
# and so many are shown one by one.
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run: its status, when it was triggered, and how long it took in seconds, if it is done.

    ``has_failed_steps``: steps of it failed, and it went on.
    """

    status: str
    created_at: datetime
    seconds: float | None = None
    has_failed_steps: bool = False

    @property
    def is_done_in_part(self) -> bool:
        """Whether it is done, though steps failed."""
        return self.status == RunStatus.DONE and self.has_failed_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the latest runs of one workflow say.

    ``last``: the latest, oldest first. ``success``: the share of done runs among those that ended by
    themselves, 0 to 1; ``done_in_part``: how many of those are done though steps failed. ``median`` and
    ``p95``: seconds that done runs took. None without any.
    """

    last: Sequence[Outcome] = ()
    success: float | None = None
    done_in_part: int = 0
    median: float | None = None
    p95: float | None = None


def judge(outcomes: Sequence[Outcome]) -> Figures:
    """Return the figures of runs that are given newest first. Pure."""
    judged = outcomes[:JUDGED]
    done = [each for each in judged if each.status == RunStatus.DONE]
    failed = sum(each.status == RunStatus.FAILED for each in judged)
    took = sorted(each.seconds for each in done if each.seconds is not None)
    return Figures(
        last=tuple(reversed(outcomes[:SHOWN])),
        success=len(done) / (len(done) + failed) if done or failed else None,
        done_in_part=sum(each.is_done_in_part for each in judged),
        median=statistics.median(took) if took else None,
        p95=took[math.ceil(0.95 * len(took)) - 1] if took else None,
    )


def oldest_judged(using: str) -> Subquery:
    """Return the id of the oldest run that is judged, for each workflow of a query; null where all are."""
    workflow = OuterRef("pk")
    of_it = {"workflow_id": workflow}
    if connections[using].vendor != "mysql":
        # A range of one. PostgreSQL, told that they are equal, needs the order of the ids only, and may walk
        # back over the runs of all workflows; MariaDB would walk the index from its beginning.
        of_it = {"workflow_id__gte": workflow, "workflow_id__lte": workflow}
    runs = Run.objects.using(using).filter(**of_it).order_by("workflow_id", "-id")
    return Subquery(runs.values("pk")[JUDGED - 1 : JUDGED])


def read_figures(workflows: Collection[Workflow]) -> dict[int, Figures]:
    """Return the figures of each workflow, which is annotated with ``oldest_judged``. One query.

    Each is a range of an index (workflow, id): what it costs does not grow with the runs there are.
    """
    if not workflows:
        return {}
    wanted = Q()
    for workflow in workflows:
        oldest: Any = getattr(workflow, "oldest_judged", None)
        wanted |= Q(workflow=workflow.pk) if oldest is None else Q(workflow=workflow.pk, pk__gte=oldest)
    using = next(iter(workflows))._state.db
    columns = ("workflow_id", "status", "created_at", "started_at", "finished_at", "has_failed_steps")
    failed = StepRun.objects.using(using).passed_over().filter(run=OuterRef("pk"))
    runs = Run.objects.using(using).filter(wanted).annotate(has_failed_steps=Exists(failed))
    rows = runs.order_by("-pk").values_list(*columns)
    found: dict[int, list[Outcome]] = defaultdict(list)
    for key, *values in rows:
        found[key].append(_outcome(*values))
    return {workflow.pk: judge(found[workflow.pk]) for workflow in workflows}


def _outcome(
    status: str,
    created: datetime,
    started: datetime | None,
    finished: datetime | None,
    has_failed_steps: bool,
) -> Outcome:
    seconds = seconds_taken(started, finished)
    return Outcome(status=status, created_at=created, seconds=seconds, has_failed_steps=has_failed_steps)
