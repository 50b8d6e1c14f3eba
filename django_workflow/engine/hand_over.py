"""From who made steps ready to who executes them: a worker that is rung for, or inline this thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction

from ..conf import get_settings
from ..dispatch import ring_after_commit
from ..models import Run, StepRun
from ..status import StepStatus
from .execute import drive
from .telling import tell_clock_is_needed


def hand_over(runs: Sequence[Run], rows: Iterable[StepRun], *, using: str) -> None:
    """Once the transaction has committed, let the ready ``rows`` of ``runs`` be executed."""
    if get_settings().QUEUE is not None:
        ring_after_commit(using, {row.queue for row in rows if row.status == StepStatus.PENDING})
    elif runs:
        transaction.on_commit(lambda: _drive(runs, using), using=using, robust=True)


def _drive(runs: Sequence[Run], using: str) -> None:
    for run in runs:
        is_driven = drive(using, run.pk)
        run.refresh_from_db(using=using)
        if is_driven:
            tell_clock_is_needed(run)
