"""What the outcome of a handler means: the result that plan decides by, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from ..durations import LONGEST, add_duration
from ..exceptions import OutcomeError
from ..models import StepRun
from ..outcomes import AskApproval, CallWorkflow, End, Goto, Sleep, WaitForEvent
from ..status import StepStatus
from .calling import prepare_call
from .claim import Claim
from .moves import Finished, Result, Slept
from .now import database_now
from .orders import Call
from .waits import wait_for_answers, wait_for_event


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A result; the step's ``output``, not yet encoded; what it ``awaits``; the run it calls."""

    result: Result
    output: Any = None
    awaits: dict[str, Any] | None = None
    call: Call | None = None


def interpret(claim: Claim, outcome: Any) -> Meaning:
    """Return what ``outcome`` means for the claimed step run.

    Raises ``OutcomeError`` for what the step may not use, and what ``prepare_call`` raises.
    """
    match outcome:
        case Goto() | End() if claim.step_run.undoes_id is not None:
            raise OutcomeError(f"{type(outcome).__name__} from an undo: its run is over, nothing can follow.")
        case Goto():
            return Meaning(result=Finished(goto=_checked_target(claim, outcome.step)), output=outcome.output)
        case End():
            return Meaning(result=Finished(ends=True), output=outcome.output)
        case Sleep():
            return Meaning(result=Slept(_wake_at(outcome, database_now(claim.using))))
        case WaitForEvent():
            now, read = database_now(claim.using), _events_read(claim, outcome)
            result, awaits = wait_for_event(outcome, claim.spec, now, read=read)
            return Meaning(result=result, awaits=awaits)
        case AskApproval():
            result, awaits = wait_for_answers(outcome, claim.spec, database_now(claim.using))
            return Meaning(result=result, awaits=awaits)
        case CallWorkflow():
            return Meaning(result=Finished(), call=prepare_call(outcome, claim.run, claim.using))
    return Meaning(result=Finished(), output=outcome)


def _events_read(claim: Claim, outcome: WaitForEvent) -> list[str]:
    """Return the keys of the shared events that the step has read, in its earlier visits too.

    What an attempt or a visit had read that was begun anew counts as unread, unless it was used up.
    """
    row = claim.step_run
    read = (row.awaits or {}).get("read")
    if read is None and outcome.shared and (row.visit > 1 or row.attempt > 1):
        ended = Q(status__in=(StepStatus.DONE, StepStatus.SKIPPED)) | Q(
            status=StepStatus.FAILED, handled=True
        )
        used_up = Q(status=StepStatus.FAILED, awaits__requeue=False)
        rows = StepRun.objects.using(claim.using).filter(
            ended | used_up, run=row.run_id, step=row.step, index=row.index, awaits__has_key="read"
        )
        earlier = rows.exclude(pk=row.pk).order_by("-visit", "-attempt")
        read = next((each["read"] for each in earlier.values_list("awaits", flat=True)[:1] if each), None)
    return list(read or ())


def _wake_at(outcome: Sleep, now: datetime) -> datetime:
    if isinstance(outcome.until, timedelta):
        return add_duration(now, outcome.until)
    return max(now, min(outcome.until, now + LONGEST))


def _checked_target(claim: Claim, name: str) -> str:
    if claim.step_run.index >= 0:
        raise OutcomeError(
            "Goto from an item of for_each: only the step as a whole may jump, by next or on_error."
        )
    if name not in claim.program.graph.steps:
        known = ", ".join(claim.program.graph.steps)
        raise OutcomeError(f"Goto({name!r}): no step of that name; known are {known:.1000}.")
    return name
