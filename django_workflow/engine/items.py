"""``for_each``: what the end of one item does to the step as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..codec import check_size
from ..conf import get_settings
from ..exceptions import TooLarge
from ..models import StepRun, StepRunQuerySet
from ..status import RunStatus, StepStatus, WaitingFor
from .claim import Claim
from .moves import Erred, Finished, Passed, Result
from .plan import is_retried, item_action
from .report import Report, report_error
from .rows import step_state

# Names the note on a step of which an item has failed for all of them.
FAILED_ITEM = "failed_item"

Update = tuple[StepRun, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class ItemEnd:
    """What the end of an item changes beside its own row.

    ``closes`` is the report of the step when it was the last.
    """

    step_row: StepRun
    updates: list[Update] = field(default_factory=list)
    stops: bool = False
    is_handled: bool = False
    closes: Report | None = None


def is_item_end(claim: Claim, report: Report) -> bool:
    """Return whether ``report`` ends an item of a run that is not ending: it is done, or failed for good."""
    if claim.step_run.index < 0 or claim.run.ending or claim.step_run.undoes_id is not None:
        return False
    retry = () if claim.handler is None else claim.handler.retry
    is_final = isinstance(report.result, (Finished, Passed, Erred))
    ends_run = isinstance(report.result, Finished) and report.result.ends
    return (
        is_final
        and not ends_run
        and not is_retried(claim.spec, step_state(claim.step_run), report.result, retry)
    )


def end_item(claim: Claim, report: Report, now: datetime) -> ItemEnd:
    """Return what the end of this item changes.

    A slot that comes free, the others stopped, or the whole step's end.
    """
    siblings = _beside(claim.using, claim.step_run)
    step_row = siblings.get(index=-1)
    step_row.run = claim.run
    end = ItemEnd(step_row=step_row)
    stop = step_row.event
    if isinstance(report.result, Erred):
        end.is_handled = item_action(claim.spec, report.result) == "continue"
        end.stops = stop is None and not end.is_handled
        if end.stops:
            stop = _stop(claim, report.result)
            end.updates.append((step_row, {"event": stop}))
    live = siblings.live().filter(index__gte=0).exclude(pk=claim.step_run.pk)
    if stop is not None:
        live = live.filter(status=StepStatus.RUNNING)
    if not live.exists():
        end.closes = _close(claim, report, siblings, stop)
    elif stop is None:
        due_at = None if claim.run.status == RunStatus.PAUSED else now
        free = {"status": StepStatus.PENDING, "waiting_for": "", "due_at": due_at}
        end.updates.extend((row, free) for row in next_in_line(claim.using, claim.step_run, 1))
    return end


def next_in_line(using: str, item: StepRun, count: int) -> list[StepRun]:
    """Return up to ``count`` items that wait for a slot beside ``item``, by their index.

    Those after ``item`` first: before it there are only some after an operator's retry, and there may be
    thousands of rows to look through.
    """
    rows = _beside(using, item).filter(status=StepStatus.WAITING, waiting_for=WaitingFor.SLOT)
    rows = rows.order_by("index")
    found = list(rows.filter(index__gt=item.index)[:count])
    if len(found) < count:
        found += rows.filter(index__lt=item.index)[: count - len(found)]
    return found


def gather(outputs: list[Any]) -> Report:
    """Return the report of a step whose items are all over: their outputs, as one list, are its output.

    The list is an output like any other, or no param, later output or caller could hold it. Where it is too
    large the step fails; its items are done, and a retry of the run only gathers them again.
    """
    try:
        check_size(
            outputs, f"the outputs of all {len(outputs):,} items, as one list", get_settings().MAX_BYTES
        )
    except TooLarge as error:
        return report_error(error)
    return Report(result=Finished(), output=outputs)


def _beside(using: str, item: StepRun) -> StepRunQuerySet:
    rows = StepRun.objects.using(using).current()
    return rows.filter(run_id=item.run_id, step=item.step, visit=item.visit)


def _stop(claim: Claim, error: Erred) -> dict[str, Any]:
    """Return the note that the step's row keeps until its running items have ended.

    Which item failed, and what then.
    """
    return {
        "name": FAILED_ITEM,
        "type": error.type,
        "message": f"item {claim.step_run.index}: {error.message}",
        "names": list(error.names),
        "action": item_action(claim.spec, error),
    }


def _close(claim: Claim, report: Report, siblings: StepRunQuerySet, stop: dict[str, Any] | None) -> Report:
    if stop is not None:
        result: Result = Erred(
            type=stop["type"],
            message=stop["message"],
            names=tuple(stop["names"]),
            permanent=True,
            action=stop["action"],
        )
        return Report(result=result)
    outputs = dict(siblings.filter(index__gte=0).values_list("index", "output"))
    outputs[claim.step_run.index] = report.output
    return gather([outputs[index] for index in sorted(outputs)])
