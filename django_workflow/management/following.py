"""Following a run to its end: each step is shown when it ends, whichever process executed it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from django.core.management.base import OutputWrapper

from ..conf import get_settings
from ..engine.control import end_overdue
from ..engine.execute import drive
from ..engine.now import database_now
from ..models import Run, StepRun
from ..signals import step_finished
from ..status import FINAL_STEP
from .run_report import describe_step, describe_wait

SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 1.0


class Follower:
    """Shows a run's steps on ``output`` (None: shows nothing) while it is entered."""

    def __init__(self, output: OutputWrapper | None) -> None:
        self.output = output
        self.run: Run | None = None
        self.shown: set[UUID] = set()
        self.announced: set[tuple[object, ...]] = set()

    def __enter__(self) -> Self:
        step_finished.connect(self._on_step_finished)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        step_finished.disconnect(self._on_step_finished)

    def follow(self, run: Run, using: str) -> None:
        """Return when the run is over. Where steps run inline, its timers are driven from here."""
        self._catch_up(run)
        while not run.is_final:
            if get_settings().QUEUE is None:
                self._drive(run, using)
            self._catch_up(run)
            run.refresh_from_db(using=using)
            if not run.is_final:
                self._announce(run)
                self.pause(self._seconds_to_wait(run, using))

    def _drive(self, run: Run, using: str) -> None:
        if run.deadline is not None and run.deadline <= database_now(using):
            end_overdue(using, database_now(using))
        drive(using, run.pk)

    def pause(self, seconds: float) -> None:
        """Wait. Short, because another process may move the run, too."""
        time.sleep(seconds)

    def _seconds_to_wait(self, run: Run, using: str) -> float:
        due = (
            run.step_runs.live()
            .filter(due_at__isnull=False)
            .order_by("due_at")
            .values_list("due_at", flat=True)
        )
        moments = [moment for moment in (due.first(), run.deadline) if moment is not None]
        if not moments:
            return LONGEST_PAUSE
        seconds = (min(moments) - database_now(using)).total_seconds()
        return min(max(seconds, SHORTEST_PAUSE), LONGEST_PAUSE)

    def _on_step_finished(self, run: Run, step_run: StepRun, **kwargs: Any) -> None:
        # A handler may trigger other runs, which are driven here as well.
        if self.run is not None and run.pk == self.run.pk:
            self._show(step_run)

    def _catch_up(self, run: Run) -> None:
        # Steps that another process ended, or this one inside a transaction that has yet to commit.
        if self.output is not None:
            for step_run in run.step_runs.filter(status__in=FINAL_STEP).order_by("number", "id"):
                self._show(step_run)

    def _show(self, step_run: StepRun) -> None:
        if self.output is not None and step_run.pk not in self.shown:
            self.shown.add(step_run.pk)
            self.output.write(describe_step(step_run))
            self.output.flush()

    def _announce(self, run: Run) -> None:
        if self.output is None:
            return
        for step_run in run.step_runs.live().filter(lease_token=None).order_by("due_at"):
            wait = (step_run.pk, step_run.waiting_for, step_run.due_at)
            if wait not in self.announced:
                self.announced.add(wait)
                self.output.write(f"{step_run}: {describe_wait(step_run)}")
                self.output.flush()
