"""Step runs that cannot be executed because their version cannot be read: put off, not in anybody's way."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import transaction

from ..models import StepRun
from .gate import StaleClaim, lock_run

logger = logging.getLogger("django_workflow")

# A deploy may be under way, after which the version can be read.
LOOKED_AT_AGAIN = timedelta(minutes=1)


def postpone(using: str, row: StepRun, now: datetime) -> None:
    """Look at a due step run that its version does not have again later, and say so."""
    text = "Run %s has a step %r that its version %s does not have; it is looked at again in a minute."
    logger.error(text, row.run_id, row.step, row.run.version_id)
    with suppress(StaleClaim), transaction.atomic(using=using):
        lock_run(using, row.run_id)
        same = StepRun.objects.using(using).filter(pk=row.pk, status=row.status, due_at=row.due_at)
        same.update(due_at=now + LOOKED_AT_AGAIN)
