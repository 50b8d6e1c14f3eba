"""Why a run is not moving: one sentence, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..asking import why_unanswerable
from ..models import StepRun
from ..status import RunStatus, StepStatus, WaitingFor
from .facts import RunFacts

# What is late by less is on its way.
SOON = timedelta(seconds=5)
MOST_NAMED = 10
# What most keeps a run from moving is told first.
_ORDER = (StepStatus.RUNNING, StepStatus.PENDING, StepStatus.WAITING)


def why(facts: RunFacts) -> str:
    """Return what the run waits for, or how it ended, in one sentence."""
    run = facts.run
    if run.is_final:
        return f"{_superseded(facts)} {_final(facts)}".lstrip()
    if run.status == RunStatus.PAUSED:
        return _paused(facts)
    rows = _most_telling(facts.live)
    if not rows:
        return _("Nothing moves it, which should not be: clocks repair that every five minutes.")
    sentence = _of_row(rows[0], facts)
    if run.ending:
        return _ending(facts, sentence)
    more = len(rows) - 1
    if not more:
        return sentence
    others = ngettext("%d more step is under way.", "%d more steps are under way.", more) % more
    return f"{sentence} {others}"


def waits_until(facts: RunFacts) -> datetime | None:
    """Return the next moment at which something is due, if there is one."""
    return min((row.due_at for row in facts.live if row.due_at is not None), default=None)


def is_late(facts: RunFacts) -> bool:
    """Return whether something is due for longer than it takes to come for it."""
    until = waits_until(facts)
    return until is not None and facts.run.status != RunStatus.PAUSED and until < facts.now - SOON


def _most_telling(rows: Sequence[StepRun]) -> list[StepRun]:
    """Return the rows that move the run, or are to; a map stands behind its own items."""
    behind = (WaitingFor.ITEMS, WaitingFor.SLOT)
    own = [row for row in rows if row.waiting_for not in behind] or list(rows)
    return sorted(own, key=lambda row: (_ORDER.index(StepStatus(row.status)), row.due_at or row.created_at))


def _superseded(facts: RunFacts) -> str:
    newer = facts.superseded_by
    if newer is None:
        return ""
    values = {"run": newer.pk, "status": newer.get_status_display()}
    return _("Superseded by the run %(run)s, which is %(status)s.") % values


def _final(facts: RunFacts) -> str:
    run, at = facts.run, moment(facts.run.finished_at)
    if run.status == RunStatus.FAILED:
        step = facts.failed[0].step if facts.failed else run.step
        if not step:
            return _("It failed at %(at)s.") % {"at": at}
        return _("It failed at %(at)s, at the step “%(step)s”.") % {"at": at, "step": step}
    if run.status == RunStatus.CANCELLED:
        return _("It was cancelled at %(at)s.") % {"at": at}
    if facts.failed_steps:
        values = {"at": at, "steps": _list_names(facts.failed_steps)}
        return _("It was done at %(at)s, though these steps failed: %(steps)s.") % values
    return _("It was done at %(at)s.") % {"at": at}


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(f"“{name}”" for name in names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _paused(facts: RunFacts) -> str:
    paused = [action for action in facts.actions if action.verb == "pause"]
    if not paused:
        return _("It is paused: nothing more starts until it is resumed.")
    by = paused[-1].by or _("somebody")
    values = {"by": by, "at": moment(paused[-1].at)}
    return _("It was paused by %(by)s at %(at)s: nothing more starts until it is resumed.") % values


def _ending(facts: RunFacts, sentence: str) -> str:
    status = dict(RunStatus.choices)[facts.run.ending]
    return _("It is ending as %(status)s. %(sentence)s") % {"status": status, "sentence": sentence}


def _of_row(row: StepRun, facts: RunFacts) -> str:
    if row.status == StepStatus.WAITING:
        return _WAITING[row.waiting_for](row, facts)
    return _running(row, facts) if row.status == StepStatus.RUNNING else _pending(row, facts)


def _running(row: StepRun, facts: RunFacts) -> str:
    values = {"step": row, "since": moment(row.started_at), "worker": row.worker or _("a worker")}
    if row.lease_until is not None and row.lease_until < facts.now - SOON:
        text = _("The step “%(step)s” was running on %(worker)s, which gives no sign of life any more. ")
        return text % values + _clock(facts, _("A clock makes it ready again."))
    return _("The step “%(step)s” has been running on %(worker)s since %(since)s.") % values


def _pending(row: StepRun, facts: RunFacts) -> str:
    values = {"step": row, "at": moment(row.due_at), "queue": row.queue}
    if row.due_at is None:
        return _("The step “%(step)s” has no time to start.") % values
    if row.due_at > facts.now + SOON:
        return _("The step “%(step)s” starts at %(at)s.") % values
    if row.due_at > facts.now - SOON:
        return _("The step “%(step)s” is ready to start.") % values
    text = _("The step “%(step)s” has been ready since %(at)s, and nobody has come for it. ") % values
    if facts.is_inline:
        return text + _clock(facts, _("The clock does it."))
    return text + _("Look whether a worker listens to the queue “%(queue)s”.") % values


def _timed(row: StepRun, facts: RunFacts, text: str) -> str:
    sentence = text % {"step": row, "at": moment(row.due_at)}
    if row.due_at is None or row.due_at > facts.now - SOON:
        return sentence
    return sentence + " " + _clock(facts, _("That is over: it is about to go on."))


def _clock(facts: RunFacts, otherwise: str) -> str:
    if facts.has_clock:
        return otherwise
    return _("But no clock ticks: start “manage.py workflow_clock”.")


def _until(row: StepRun, text: str) -> str:
    until = (row.awaits or {}).get("until")
    if until is None:
        return f"{text}."
    return _("%(text)s, until %(at)s.") % {"text": text, "at": moment(datetime.fromisoformat(until))}


def _retry(row: StepRun, facts: RunFacts) -> str:
    return _timed(row, facts, _("The step “%(step)s” failed and is tried again at %(at)s."))


def _timer(row: StepRun, facts: RunFacts) -> str:
    return _timed(row, facts, _("The step “%(step)s” waits until %(at)s."))


def _event(row: StepRun, facts: RunFacts) -> str:
    names = ", ".join(f"“{name}”" for name in (row.awaits or {}).get("events", ()))
    text = _("The step “%(step)s” waits for the event %(names)s") % {"step": row, "names": names}
    return _until(row, text)


def _approval(row: StepRun, facts: RunFacts) -> str:
    awaits = row.awaits or {}
    text = _("The step “%(step)s” waits for the approval of %(who)s")
    if awaits.get("permission"):
        who = _("somebody with the permission %s") % awaits["permission"]
    elif awaits.get("group"):
        who = _("somebody of the group %s") % awaits["group"]
    else:
        who = _("a person who is named")
    sentence = _until(row, text % {"step": row, "who": who})
    [reason] = why_unanswerable([awaits])
    if reason:
        sentence += " " + _("But nobody can answer: %s.") % reason
    return sentence


def _child(row: StepRun, facts: RunFacts) -> str:
    called = next((run for run in facts.called if run.pk == row.child_id), None)
    name = "" if called is None else f" {called.workflow.name}"
    text = _("The step “%(step)s” waits for the run%(name)s that it called") % {"step": row, "name": name}
    return _until(row, text)


def _handler(row: StepRun, facts: RunFacts) -> str:
    step = facts.program.steps.get(row.step) if facts.program else None
    values = {"step": row, "type": "" if step is None else step.type}
    text = _("No worker knows the type “%(type)s” of the step “%(step)s”: it is offered every minute.")
    return text % values


def _items(row: StepRun, facts: RunFacts) -> str:
    return _("The step “%(step)s” waits for its items.") % {"step": row}


def _slot(row: StepRun, facts: RunFacts) -> str:
    return _("The item “%(step)s” waits for a free place under max_parallel.") % {"step": row}


_WAITING: Mapping[str, Callable[[StepRun, RunFacts], str]] = {
    WaitingFor.RETRY: _retry,
    WaitingFor.TIMER: _timer,
    WaitingFor.EVENT: _event,
    WaitingFor.APPROVAL: _approval,
    WaitingFor.CHILD: _child,
    WaitingFor.HANDLER: _handler,
    WaitingFor.ITEMS: _items,
    WaitingFor.SLOT: _slot,
}


def moment(at: datetime | None) -> str:
    """Return a time of the current time zone, to the second; the same in every language, without a dot."""
    return "–" if at is None else f"{localtime(at):%Y-%m-%d %H:%M:%S}"
