"""What is known of one run: read with few queries, for the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import Q
from django.db.models.functions import Left

from ..conf import get_settings
from ..definition.program import Program
from ..engine.programs import get_program
from ..engine.verbs import RESTART, superseded
from ..models import Clock, Run, RunAction, StepRun
from ..status import LIVE_STEP, RunStatus, StepStatus
from .passed_over import read_failed_steps

# A run may have thousands of step runs; its page reads the latest, and of the others what stands for a step.
LATEST = 200
BIG = ("params", "output", "state_changes", "item", "event", "error", "traceback", "logs")
BIG_OF_RUN = ("input", "state", "output", "jumps", "error", "workflow__input", "workflow__on_failure")
# Of an error, for a line of a table.
SAID = 200
MOST_CALLED = 50


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A run with its rows, without their big columns.

    ``latest``: step runs as they were made; ``current``: the latest attempt of each step itself, by name;
    ``undos``: step runs that undo others; ``restarts``: runs that were started in its place;
    ``superseded_by``: the newest run that stands for it now.
    """

    run: Run
    now: datetime
    program: Program | None
    latest: Sequence[StepRun]
    current: dict[str, StepRun]
    undos: Sequence[StepRun]
    live: Sequence[StepRun]
    actions: Sequence[RunAction]
    called: Sequence[Run]
    restarts: Sequence[Run]
    superseded_by: Run | None
    has_more: bool

    @property
    def using(self) -> str:
        """The database that the run lives on."""
        return self.run._state.db or "default"

    @cached_property
    def is_inline(self) -> bool:
        """Whether steps run without workers."""
        return get_settings().QUEUE is None

    @cached_property
    def has_clock(self) -> bool:
        """Whether a clock ticks. A query, so it is asked only where that makes a difference."""
        return Clock.objects.using(self.using).alive(self.now).exists()

    @property
    def built_on(self) -> Run | None:
        """The newest run that has copies of its steps."""
        return next((run for run in self.restarts if any(map(_is_from_step, run.actions.all()))), None)

    @cached_property
    def failed_steps(self) -> Sequence[str]:
        """The steps that failed though the run is done. A query."""
        is_done = self.run.status == RunStatus.DONE
        return read_failed_steps([self.run]).get(self.run.pk, ()) if is_done else ()

    @property
    def failed(self) -> Sequence[StepRun]:
        """The steps whose failure nothing met, the first one first."""
        rows = [row for row in self.current.values() if row.status == StepStatus.FAILED and not row.handled]
        return sorted(rows, key=lambda row: row.number or 0)


def _is_from_step(action: RunAction) -> bool:
    return action.verb == RESTART and bool(action.step)


def read_facts(run: Run, now: datetime) -> RunFacts:
    """Return what is known of ``run``.

    Three queries; one more each for a version not seen before, many rows and calls; restarts take four.
    """
    using = run._state.db
    program = None if run.version_id is None else get_program(run.version_id, using or "default")
    rows = StepRun.objects.using(using).filter(run=run).defer(*BIG).annotate(said=Left("error", SAID))
    latest = list(rows.order_by("-id")[: LATEST + 1])
    has_more = len(latest) > LATEST
    standing = list(rows.filter(STANDING)) if has_more else latest
    restarts = Run.objects.using(using).filter(restarted_from=run).order_by("-pk").select_related("workflow")
    restarted = list(restarts.defer(*BIG_OF_RUN).prefetch_related("actions"))
    for row in (*latest, *standing):
        row.run = run
    return RunFacts(
        run=run,
        now=now,
        program=program,
        latest=latest[LATEST - 1 :: -1] if has_more else latest[::-1],
        current={row.step: row for row in standing if row.current and row.index < 0},
        undos=[row for row in standing if row.undoes_id is not None],
        live=[row for row in standing if row.status in LIVE_STEP],
        actions=list(run.actions.using(using).prefetch_related("by")),
        called=_read_called(run, program),
        restarts=restarted,
        superseded_by=superseded([run.pk], using or "default").get(run.pk) if restarted else None,
        has_more=has_more,
    )


# What says how a run stands, whatever its number of rows: steps, undos, and what of its items is live.
STANDING = Q(current=True, index=-1) | Q(undoes__isnull=False) | Q(finished_at__isnull=True, index__lt=LATEST)


def _read_called(run: Run, program: Program | None) -> list[Run]:
    if program is None or not program.has_calls:
        return []
    called = Run.objects.using(run._state.db).filter(parent__run=run).select_related("workflow", "parent")
    return list(called.defer(*BIG_OF_RUN).order_by("pk")[:MOST_CALLED])
