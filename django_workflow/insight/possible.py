"""Which verbs a run allows now, and why not the others. The engine has the last word, behind the lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.utils.translation import gettext as _

from ..definition.program import UNDO
from ..models import Run, StepRun
from ..status import RunStatus, StepStatus
from .facts import RunFacts

# An undo that a person skipped counts as made.
MADE = (StepStatus.DONE, StepStatus.SKIPPED)


def why_not(verb: str, facts: RunFacts) -> str:
    """Return why ``verb`` (its name as in ``workflow_runs``) cannot be done now; empty where it can."""
    return _REASONS[verb](facts)


def steps_to_skip(facts: RunFacts) -> list[StepRun]:
    """Return the steps that wait, those whose failure ended the run, and a failed or waiting undo."""
    if facts.run.status == RunStatus.FAILED:
        steps = list(facts.failed)
    else:
        steps = [row for row in facts.current.values() if row.status == StepStatus.WAITING]
    return [*steps, *_undos_left(facts)] if facts.undos else steps


def steps_to_restart_from(facts: RunFacts) -> list[str]:
    """Return the names of the steps that a restart may begin with."""
    return [] if facts.program is None else list(facts.program.graph.steps)


def _undos_left(facts: RunFacts) -> list[StepRun]:
    made = {row.undoes_id for row in facts.undos if row.status in MADE}
    stopped = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.WAITING)
    left = [row for row in facts.undos if row.undoes_id not in made and row.status in stopped]
    return list({row.step: row for row in sorted(left, key=lambda row: row.attempt)}.values())


def _over(facts: RunFacts) -> str:
    return _("The run is over: it is %s.") % facts.run.get_status_display() if facts.run.is_final else ""


def _ending(facts: RunFacts) -> str:
    return _("The run is ending: what still runs is awaited.") if facts.run.ending else ""


def _not_over(facts: RunFacts) -> str:
    return "" if facts.run.is_final else _("The run is not over yet. Cancel it first.")


def _cancel(facts: RunFacts) -> str:
    return _over(facts)


def _pause(facts: RunFacts) -> str:
    paused = facts.run.status == RunStatus.PAUSED
    return _over(facts) or _ending(facts) or (_("The run is paused already.") if paused else "")


def _resume(facts: RunFacts) -> str:
    return "" if facts.run.status == RunStatus.PAUSED else _("The run is not paused.")


def _superseded(facts: RunFacts) -> str:
    newer = facts.superseded_by
    if newer is None or newer.status != RunStatus.DONE:
        return _restarted_as(newer or facts.built_on)
    return _("It was restarted as %s, which is done. To do the work again, restart that one.") % newer.pk


def _restarted_as(newer: Run | None) -> str:
    return "" if newer is None else _("It was restarted as %s: go on with that one.") % newer.pk


def _undone(facts: RunFacts) -> str:
    return _("Its undo has begun, so that it cannot go on.") if facts.undos else ""


def _retry(facts: RunFacts) -> str:
    if facts.run.status != RunStatus.FAILED:
        return _("Only a run that failed is retried.")
    return _never_began(facts) or _superseded(facts) or _undone(facts)


def _never_began(facts: RunFacts) -> str:
    return _("The run never began.") if facts.program is None else ""


def _restart(facts: RunFacts) -> str:
    workflow = facts.run.workflow
    if not facts.run.is_final:
        return _not_over(facts)
    if not workflow.enabled:
        return _("The workflow is switched off.")
    has_version = facts.run.version_id or workflow.published_id
    return "" if has_version else _("The workflow has no published version.")


def _skip(facts: RunFacts) -> str:
    undos = _undos_left(facts)
    if undos:
        return ""
    if facts.run.status == RunStatus.FAILED:
        stuck = _never_began(facts) or _superseded(facts) or _undone(facts)
    else:
        stuck = _over(facts) or _ending(facts)
    return stuck or ("" if steps_to_skip(facts) else _("No step waits, or has failed."))


def _undo(facts: RunFacts) -> str:
    reason = _not_over(facts) or _restarted_as(facts.built_on) or _never_began(facts)
    if reason or facts.program is None:
        return reason
    if _undos_left(facts):
        return ""
    with_undo = {step.name for step in facts.program.spec.steps if step.undo is not None}
    maps = {step.name for step in facts.program.spec.steps if step.for_each is not None}
    made = {row.step.removesuffix(UNDO) for row in facts.undos}
    began = [name for name in with_undo if name in facts.current]
    done = [name for name in began if facts.current[name].status == StepStatus.DONE or name in maps]
    if not done:
        return _("None of its done steps has an undo.")
    return _("Everything is undone already.") if made.issuperset(done) else ""


_REASONS: Mapping[str, Callable[[RunFacts], str]] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "restart": _restart,
    "skip": _skip,
    "undo": _undo,
    "event": _over,
}
