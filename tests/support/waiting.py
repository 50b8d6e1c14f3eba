"""What waits for a point in time, as if that time had come."""

from __future__ import annotations

from datetime import datetime, timedelta

from django_workflow.engine.execute import work
from django_workflow.models import Run


def forward(run: Run, *, hours: float) -> None:
    """Move the times of what waits back, as if so many hours had passed, and do what is due."""
    for row in run.step_runs.live().filter(due_at__isnull=False):
        row.due_at -= timedelta(hours=hours)
        if row.awaits and row.awaits.get("until"):
            until = datetime.fromisoformat(row.awaits["until"]) - timedelta(hours=hours)
            row.awaits = {**row.awaits, "until": until.isoformat()}
        row.save()
    work("default")
