"""The verbs as bulk actions and commands name them, each done by the same function as for one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from ..exceptions import VerbRefused
from ..models import Run
from ..status import RunStatus
from . import approvals, callers, control
from .restart import Restart, restart
from .retry import retry
from .send import send_to_run
from .skip import skip
from .undo_run import undo

Arguments = Mapping[str, Any]
# Does the verb to one run on an alias: who, why, and the arguments of the verb.
DoVerb = Callable[[Run, str, AbstractBaseUser | None, str, Arguments], object]
User = AbstractBaseUser | None

ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED)
FINAL = (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED)
CONTROL, OVERRIDE = "django_workflow.control_run", "django_workflow.override_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkVerb:
    """One verb: what does it, and the statuses of the runs it is for where nobody says otherwise.

    ``done`` is what a run then is, for people. ``path`` leads from a step run that it made ready to the bulk
    action; empty where it makes none ready. ``needs`` and ``takes`` name its arguments. ``goes_on``: it is to
    bring a run to a good end. ``one_by_one``: only for runs that a person names.
    """

    do: DoVerb
    done: str
    statuses: tuple[RunStatus, ...]
    path: str = "run__actions__bulk"
    permission: str = CONTROL
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    goes_on: bool = True
    one_by_one: bool = False


def find_verb(name: str, arguments: Arguments) -> BulkVerb:
    """Return the verb of a bulk action.

    Raises ``ValueError`` where there is none, or for the wrong arguments.
    """
    verb = BULK_VERBS.get(name)
    if verb is None or verb.one_by_one:
        known = ", ".join(name for name, each in BULK_VERBS.items() if not each.one_by_one)
        raise ValueError(f"{name!r} cannot be done to many runs; what can is {known}")
    missing = [each for each in verb.needs if each not in arguments]
    unknown = sorted(set(arguments) - {*verb.needs, *verb.takes})
    if missing or unknown:
        problem = f"needs {missing[0]!r}" if missing else f"takes no {unknown[0]!r}"
        raise ValueError(f"{name} {problem}")
    return verb


def _cancel(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    return control.cancel(run, using=using, by=by, note=note)


def _pause(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    return control.pause(run, using=using, by=by, note=note)


def _resume(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    return control.resume(run, using=using, by=by, note=note)


def _retry(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    return retry(run, using=using, by=by, note=note, wake=callers.wake_callers)


def _restart(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    asked = Restart(from_step=given.get("from_step"), newest=given.get("newest", False))
    return restart(run, asked, using=using, by=by, note=note)


def _undo(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    return undo(run, using=using, by=by, note=note)


def _skip(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    output, wake = given.get("output"), callers.wake_callers
    return skip(run, given["step"], output, using=using, by=by, note=note, wake=wake)


def _send_event(run: Run, using: str, by: User, note: str, given: Arguments) -> None:
    name, payload, event_id = given["name"], given.get("payload"), given.get("id")
    if not send_to_run(using, run.pk, name, payload, event_id=event_id, by=by, note=note):
        raise VerbRefused(f"run {run.pk} is final: nothing of it waits for an event.")


def _approve(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    data = given.get("data")
    return approvals.answer(run, given["step"], is_approved=True, by=by, data=data, note=note, using=using)


def _reject(run: Run, using: str, by: User, note: str, given: Arguments) -> Run:
    data = given.get("data")
    return approvals.answer(run, given["step"], is_approved=False, by=by, data=data, note=note, using=using)


BULK_VERBS: Mapping[str, BulkVerb] = {
    "cancel": BulkVerb(do=_cancel, done="cancelled", statuses=ACTIVE, path="", goes_on=False),
    "pause": BulkVerb(do=_pause, done="paused", statuses=ACTIVE[:3], path="", goes_on=False),
    "resume": BulkVerb(do=_resume, done="resumed", statuses=(RunStatus.PAUSED,)),
    "retry": BulkVerb(do=_retry, done="retried", statuses=(RunStatus.FAILED,)),
    "restart": BulkVerb(
        do=_restart,
        done="restarted",
        statuses=FINAL,
        path="run__restarted_from__actions__bulk",
        takes=("from_step", "newest"),
    ),
    "undo": BulkVerb(do=_undo, done="undone", statuses=FINAL, permission=OVERRIDE, goes_on=False),
    "skip": BulkVerb(
        do=_skip,
        done="skipped",
        statuses=(RunStatus.FAILED, *ACTIVE),
        permission=OVERRIDE,
        needs=("step",),
        takes=("output",),
    ),
    "event": BulkVerb(
        do=_send_event, done="sent to", statuses=ACTIVE, needs=("name",), takes=("payload", "id")
    ),
    "approve": BulkVerb(
        do=_approve,
        done="approved",
        statuses=ACTIVE,
        permission="",
        needs=("step",),
        takes=("data",),
        one_by_one=True,
    ),
    "reject": BulkVerb(
        do=_reject,
        done="rejected",
        statuses=ACTIVE,
        permission="",
        needs=("step",),
        takes=("data",),
        one_by_one=True,
    ),
}
