"""Answers to steps that wait for people: kept one by one, and the last that is needed wakes the step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from ..codec import check_size, encode
from ..conf import get_settings
from ..exceptions import NotAllowed, VerbRefused
from ..models import Answer, Run, RunAction, StepRun
from ..params import declared_params
from ..status import StepStatus, WaitingFor
from ..storable import clean_text, is_storable_text
from .approvers import why_not
from .gate import StaleClaim, lock_run
from .hand_over import hand_over
from .now import database_now
from .waits import event_of
from .waking import make_ready

APPROVED = "approved"
REJECTED = "rejected"
MAX_NAME = 255


def answer(
    run: Run,
    step: str | StepRun,
    *,
    is_approved: bool,
    by: AbstractBaseUser | None,
    data: Mapping[str, Any] | None,
    note: str,
    using: str,
) -> Run:
    """Record one person's answer in the caller's transaction; when enough have answered the step goes on.

    ``step`` is the name of the step, or the step run where several items of it wait. Returns the run as it
    then is. Raises ``NotAllowed`` for who may not answer or has done so, ``ParamsError`` for ``data`` that
    does not fit the form, ``NotStorable``, and ``VerbRefused`` where the step does not wait any more.
    """
    now = database_now(using)
    with transaction.atomic(using=using):
        try:
            locked = lock_run(using, run.pk)
        except StaleClaim:
            raise VerbRefused(f"run {run.pk} does not exist any more.") from None
        row = _find(locked, step, using)
        reason = why_not(by, row, locked)
        if by is None or reason:
            raise NotAllowed(f"step {str(row)!r} of run {run.pk}: {reason}.")
        given = Answer(
            step_run=row,
            by_id=by.pk,
            name=by.get_username()[:MAX_NAME],
            is_approved=is_approved,
            note=clean_text(note),
            data=_read(data or {}, row, using, is_approved=is_approved),
            at=now,
        )
        _insert(given, row, using)
        _note(locked, given, row, using)
        payload = _payload(given, row, using)
        if _is_enough(given, row, using):
            _wake(locked, given, row, payload, using)
    return locked


def _find(run: Run, step: str | StepRun, using: str) -> StepRun:
    rows = StepRun.objects.using(using).filter(run=run)
    if isinstance(step, StepRun):
        rows = rows.filter(pk=step.pk)
    else:
        rows = rows.filter(step=step) if is_storable_text(step) else rows.none()
    waiting = list(rows.filter(status=StepStatus.WAITING, waiting_for=WaitingFor.APPROVAL)[:2])
    if not waiting:
        raise VerbRefused(f"step {str(step)!r} of run {run.pk} waits for no approval: {_why_none(rows)}.")
    if len(waiting) > 1:
        raise VerbRefused(f"several items of step {step!r} of run {run.pk} wait: give the step run of one.")
    return waiting[0]


def _why_none(rows: Any) -> str:
    """Return what happened to the step that is to be answered."""
    row = rows.order_by("visit", "attempt", "index").last()
    if row is None:
        return "it has not started, or there is no such step"
    said = [str(each) for each in row.answers.all()]
    if said:
        return f"it was answered ({', '.join(said)})"
    return f"it is {row.status}{f' ({row.error_type})' if row.error_type else ''}"


def _read(data: Mapping[str, Any], row: StepRun, using: str, *, is_approved: bool) -> dict[str, Any]:
    """Return ``data`` as the form declares it, encoded; of a rejection nothing is demanded."""
    form = (row.awaits or {})["form"] or {}
    if not is_approved:
        form = {name: declared for name, declared in form.items() if name in data}
    read = declared_params(form).convert(data, what=f"the answer to {str(row)!r}", using=using)
    encoded: dict[str, Any] = encode(read, "data", using=using)
    return encoded


def _insert(given: Answer, row: StepRun, using: str) -> None:
    refused = NotAllowed(f"user {given.name!r} has answered step {str(row)!r} of run {row.run_id} before.")
    if Answer.objects.using(using).filter(step_run=row, by_id=given.by_id).exists():
        raise refused
    try:
        with transaction.atomic(using=using):
            given.save(using=using, force_insert=True)
    except IntegrityError:
        raise refused from None


def _note(run: Run, given: Answer, row: StepRun, using: str) -> None:
    RunAction.objects.using(using).create(
        run=run,
        verb="approve" if given.is_approved else "reject",
        step=row.step,
        by_id=given.by_id,
        note=given.note,
        at=given.at,
    )


def _is_enough(given: Answer, row: StepRun, using: str) -> bool:
    if not given.is_approved:
        return True
    approvals = Answer.objects.using(using).filter(step_run=row, is_approved=True).count()
    return bool(approvals >= (row.awaits or {})["count"])


def _wake(run: Run, given: Answer, row: StepRun, payload: dict[str, Any], using: str) -> None:
    """Make the step ready; in a paused run it starts when that is resumed."""
    row.event = event_of(APPROVED if given.is_approved else REJECTED, given.at, payload)
    if make_ready(run, [row], given.at, using):
        hand_over([run], [row], using=using)


def _payload(last: Answer, row: StepRun, using: str) -> dict[str, Any]:
    """Return the output of ``flow.approval``, encoded: ``last`` decided, and gives note and data.

    Raises ``TooLarge`` where the step could not hold it.
    """
    answers = list(Answer.objects.using(using).filter(step_run=row).order_by("pk"))
    payload = {
        "by": [each.name for each in answers if each.is_approved == last.is_approved],
        "at": _text(last.at),
        "note": last.note,
        "data": last.data,
        "answers": [
            {
                "by": each.name,
                "approved": each.is_approved,
                "note": each.note,
                "data": each.data,
                "at": _text(each.at),
            }
            for each in answers
        ],
    }
    check_size(payload, "all answers together", get_settings().MAX_BYTES)
    return payload


def _text(moment: datetime) -> str:
    return moment.isoformat()
