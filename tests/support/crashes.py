"""What workers that die leave behind, and what a clock and a worker make of it then."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from unittest import mock

from django.utils import timezone

from django_workflow import process
from django_workflow.engine import in_touch
from django_workflow.engine.execute import work
from django_workflow.engine.recover import recover_expired
from django_workflow.models import Run, StepRun
from tests.support.runs import abandon, fresh, step_runs


def crash(run: Run, name: str, **fields: Any) -> StepRun:
    """Leave the step ``name`` as a worker does that died in it, having claimed it alone."""
    return abandon(run, name, **{"solo": True, **fields})


def be_in_touch(using: str = "default", seconds: float = 60, *, follows_outage: bool = False) -> None:
    """Be a process that has been in touch with the database for so long, without a break."""
    process.forget()
    with mock.patch.object(in_touch, "time") as clock:
        ago = seconds
        while True:
            clock.monotonic.return_value, clock.time.return_value = time.monotonic() - ago, time.time() - ago
            if ago == seconds and follows_outage:
                in_touch.lose(using)
            in_touch.note(using)
            if not ago:
                return
            ago = max(ago - in_touch.LONGEST_TICK / 2, 0)


def take_up(using: str = "default") -> int:
    """Do what an old clock does, and then a worker; return how many step runs the clock recovered."""
    be_in_touch(using)
    count = recover_expired(using)
    work(using)
    return count


def let_leases_expire(run: Run) -> Run:
    """Make due what runs, take it up, and return the run as it then is."""
    step_runs(run).live().filter(status="running").update(due_at=timezone.now() - timedelta(minutes=1))
    take_up(run._state.db or "default")
    return fresh(run)
