"""Items of one ``for_each``, recorded in one transaction of their run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from ..codec import differs
from ..dispatch import ring_after_commit
from ..models import Run, StepRun
from ..status import FINAL_STEP, RunStatus, StepStatus
from .calling import make_calls
from .claim import Claim, put
from .gate import StaleClaim, lock_run
from .items import Update, next_in_line
from .moves import Awaits, Finished, RowMove
from .now import database_now
from .record import conclude, write_locked
from .recording import Keep, Recording, work_out
from .report import Report
from .rows import moved_values
from .safely import repeat
from .statements import change
from .telling import tell_recorded
from .turns import writing

Reports = Sequence[tuple[Claim, Report]]


def fits_items(claim: Claim, report: Report) -> bool:
    """Return whether the report of an item may be recorded with others: a plain end, or the call of a run."""
    row, result = claim.step_run, report.result
    if row.index < 0 or row.undoes_id is not None or claim.run.ending or report.changes:
        return False
    is_plain = isinstance(result, Finished) and not result.ends and result.goto is None
    return is_plain or report.call is not None


def record_items(reports: Reports, *, keep: Keep) -> list[Claim] | None:
    """Record what came of items of one step, all of which fit; return the claims on what follows.

    None, and nothing is written, where they have to be recorded one by one: the run is ending, one is no
    longer ours, or the database refuses what one of them gave.
    """
    try:
        return repeat(partial(_record, reports, keep), reports[0][0].using)
    except StaleClaim:
        return None
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        return None


def _record(reports: Reports, keep: Keep) -> list[Claim]:
    using, before = reports[0][0].using, [claim.run for claim, _report in reports]
    try:
        with writing(using), transaction.atomic(using=using):
            run = _lock(reports)
            recorded, freed, last, recording = _write(reports, run, keep)
    except BaseException:
        for (claim, _report), earlier in zip(reports, before, strict=True):
            _belong(claim, earlier, locked=False)
        raise
    for row, values in recorded:
        put(row, values)
    ring_after_commit(using, {row.queue for row in freed})
    tell_recorded(using, run, [row for row, values in recorded if values["status"] in FINAL_STEP])
    following = conclude(last, recording)
    return [] if following is None else [following]


def _lock(reports: Reports) -> Run:
    """Lock the run; each recording has a number of its own. Raises ``StaleClaim`` where any is not ours."""
    first = reports[0][0]
    run = lock_run(first.using, first.run.pk, by=len(reports))
    held = StepRun.objects.using(first.using).filter(pk__in=[claim.step_run.pk for claim, _report in reports])
    tokens = dict(held.values_list("pk", "lease_token"))
    if run.ending or any(tokens.get(claim.step_run.pk) != claim.token for claim, _report in reports):
        raise StaleClaim
    for claim, _report in reports:
        _belong(claim, run, locked=False)
    return run


def _belong(claim: Claim, run: Run, *, locked: bool) -> None:
    claim.run, claim.locked, claim.step_run.run = run, locked, run


def _write(reports: Reports, run: Run, keep: Keep) -> tuple[list[Update], list[StepRun], Claim, Recording]:
    """Write all but one as rows, and the last, which may end the whole step, as it is recorded alone."""
    first, now = reports[0][0], database_now(reports[0][0].using)
    called = make_calls(
        [(claim.step_run, report) for claim, report in reports], first.spec, using=first.using
    )
    ready = [(claim, report) for (claim, _asked), report in zip(reports, called, strict=True)]
    # Those that wait go first: with what has ended, the step may.
    *others, (last, report) = sorted(ready, key=lambda each: isinstance(each[1].result, Finished))
    number = run.revision - len(others)
    recorded = [
        (claim.step_run, _values(claim.step_run, report, number + place, now))
        for place, (claim, report) in enumerate(others)
    ]
    change(first.using, [(row.pk, values) for row, values in recorded])
    freed = _free_slots(last, sum(values["status"] == StepStatus.DONE for _row, values in recorded), run, now)
    _belong(last, run, locked=True)
    last.is_sole = False
    recording = work_out(last, report, keep=keep)
    write_locked(last, recording)
    return recorded, freed, last, recording


def _values(row: StepRun, report: Report, number: int, now: Any) -> dict[str, Any]:
    result = report.result
    move = RowMove(status=StepStatus.DONE, postponed=row.postponed)
    if isinstance(result, Awaits):
        move = RowMove(
            status=StepStatus.WAITING,
            waiting_for=result.waiting_for,
            due_at=result.until,
            postponed=row.postponed,
        )
    values = moved_values(row, move, report, number=number, now=now)
    return {name: value for name, value in values.items() if differs(getattr(row, name), value)}


def _free_slots(item: Claim, count: int, run: Run, now: Any) -> list[StepRun]:
    if not count or item.spec.max_parallel is None:
        return []
    rows = next_in_line(item.using, item.step_run, count)
    due_at = None if run.status == RunStatus.PAUSED else now
    free = {"status": StepStatus.PENDING, "waiting_for": "", "due_at": due_at}
    change(item.using, [(row.pk, free) for row in rows])
    return rows
