"""Waits for something from outside: how they are stored, and what came while nobody looked (rules 8, 21)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ..definition.spec import StepSpec
from ..durations import add_duration
from ..exceptions import WaitTimeout
from ..models import StepRun
from ..outcomes import AskApproval, WaitForEvent
from ..status import WaitingFor
from .moves import Awaits

TIMER = "timer"
TIMEOUT = "timeout"
CHILD = "child"
AWAITED = frozenset({WaitingFor.EVENT, WaitingFor.APPROVAL, WaitingFor.CHILD})


def event_of(name: str, now: datetime, payload: Any = None, *, sent: str | None = None) -> dict[str, Any]:
    """Return what a step run keeps of what woke it; ``payload`` is encoded.

    ``sent``: the key of an event that somebody sent, which may have any name, also one of ours.
    """
    event = {"name": name, "payload": payload, "at": now.isoformat()}
    return event if sent is None else {**event, "sent": sent}


def is_ours(event: Mapping[str, Any] | None, name: str) -> bool:
    """Return whether the engine itself woke the step run by ``event``, and that is of this name."""
    return event is not None and event.get("name") == name and "sent" not in event


def wait_for_event(
    outcome: WaitForEvent, spec: StepSpec, now: datetime, *, read: list[str]
) -> tuple[Awaits, dict[str, Any]]:
    """Return the result of a step that waits for events, and what its row keeps of that.

    ``read``: the keys of shared events that it does not read again.
    """
    until = _deadline(spec, now)
    moments = [moment for moment in (until, _after(outcome.timeout, now)) if moment is not None]
    awaits = {"events": list(outcome.names), "shared": outcome.shared, "until": _text(until)}
    if not outcome.requeue:
        awaits["requeue"] = False
    if read:
        awaits["read"] = read
    return Awaits(waiting_for=WaitingFor.EVENT, until=min(moments, default=None)), awaits


def wait_for_answers(outcome: AskApproval, spec: StepSpec, now: datetime) -> tuple[Awaits, dict[str, Any]]:
    """Return the result of a step that waits for people, and what its row keeps of that."""
    until = _deadline(spec, now)
    awaits = {
        "permission": outcome.permission,
        "group": outcome.group,
        "users": dict.fromkeys(outcome.users.values(), True),
        "count": outcome.count,
        "allow_self": outcome.allow_self,
        "askers": dict.fromkeys(outcome.askers, True),
        "form": None if outcome.form is None else dict(outcome.form),
        "message": outcome.message,
        "until": _text(until),
    }
    return Awaits(waiting_for=WaitingFor.APPROVAL, until=until), awaits


def wait_for_child(spec: StepSpec, now: datetime) -> tuple[Awaits, dict[str, Any]]:
    """Return the result of a step that waits for the run it called, and what its row keeps of that."""
    until = _deadline(spec, now)
    return Awaits(waiting_for=WaitingFor.CHILD, until=until), {"until": _text(until)}


def has_timed_out(row: StepRun) -> bool:
    """Return whether the row was claimed because the time of its wait was over."""
    return is_ours(row.event, TIMEOUT) and row.awaits is not None


def overdue_wait(row: StepRun, now: datetime) -> WaitTimeout | None:
    """Return the error of a wait that is past the step's own ``timeout``; None where the handler is asked."""
    until = (row.awaits or {}).get("until")
    if not has_timed_out(row) or until is None or datetime.fromisoformat(until) > now:
        return None
    what = _awaited(row.awaits or {})
    return WaitTimeout(f"step {str(row)!r} waited for {what}, and none came until {until}")


def _awaited(awaits: Mapping[str, Any]) -> str:
    if "events" in awaits:
        return f"the event {' or '.join(awaits['events'])}"
    return "an approval" if "count" in awaits else "the run it called"


def _deadline(spec: StepSpec, now: datetime) -> datetime | None:
    return _after(spec.timeout if isinstance(spec.timeout, timedelta) else None, now)


def _after(duration: timedelta | None, now: datetime) -> datetime | None:
    return None if duration is None else add_duration(now, duration)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
