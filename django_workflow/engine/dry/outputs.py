"""What a dry run takes for the outcomes of handlers: outputs that were given, or those of an earlier run.

Pure: see :mod:`.recorded` for the reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...context import NO_CHANGES, StateChanges
from ...retry import error_names, type_name
from ...storable import clean_text
from ..moves import Erred
from ..report import MAX_ERROR

LATE = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a handler is taken to return (a value, ``Goto`` or ``End``), to fail with, and to write."""

    outcome: Any = None
    error: Erred | None = None
    changes: StateChanges = NO_CHANGES
    number: int = LATE


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOutputs:
    """The outcomes that are known: ``given`` by step name, else ``recorded`` by step and item, and visit."""

    given: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[tuple[str, int], Mapping[int, Known]] = field(default_factory=dict)

    def of(self, step: str, visit: int, index: int = -1) -> Known | None:
        """Return what is known of one visit, or of its item; a later visit than those recorded has the last.

        None where nothing is known.
        """
        if step in self.given:
            value = self.given[step] if index < 0 else self.given[step][index]
            return Known(error=final_error(value)) if isinstance(value, Exception) else Known(outcome=value)
        visits = self.recorded.get((step, index))
        return None if not visits else visits.get(visit, visits[max(visits)])

    def turn(self, step: str, visit: int) -> int:
        """Return when the step was recorded, beside others that are ready; late where it was not."""
        visits = self.recorded.get((step, -1), {})
        return visits[visit].number if visit in visits else LATE

    def misfit(self, step: str, count: int) -> str:
        """Return why what is given for a ``for_each`` of ``count`` items cannot be; empty where it can."""
        if step not in self.given:
            return ""
        value = self.given[step]
        if not isinstance(value, (list, tuple)):
            return f"outputs has to hold a list for it, one output for each of the {count:,} items"
        if len(value) != count:
            return f"outputs holds {len(value):,} outputs for it, and for_each gives {count:,} items"
        return ""


def final_error(error: Exception) -> Erred:
    """Return the failure that ``error`` is when the retries are spent."""
    kind = type(error)
    text = clean_text(str(error) or kind.__qualname__, MAX_ERROR)
    return Erred(type=type_name(kind), message=text, names=error_names(kind), permanent=True)
