"""What the engine's statements are given: one recording of a step run, one claim of a step run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ..models import Run, StepRun


@dataclass(slots=True, kw_only=True)
class Entry:
    """One recording: the changed columns of a run and of one of its step runs, and step runs to insert.

    The revision in ``run`` and the lease ``token`` are demanded; ``created`` are unsaved, of the same run.
    """

    run: Run
    run_values: dict[str, Any]
    row: StepRun
    token: UUID
    row_values: dict[str, Any]
    created: list[StepRun] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Pick:
    """One claim: the changed columns of a run and of the step run that is claimed.

    The revision in ``run``, and the status and ``due_at`` in ``row``, are demanded.
    """

    run: Run
    run_values: dict[str, Any]
    row: StepRun
    row_values: dict[str, Any]
