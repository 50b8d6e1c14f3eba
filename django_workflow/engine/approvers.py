"""Who may answer an approval."""

from __future__ import annotations

from django.db.models import Model

from ..models import Run, StepRun
from ..models.approvable import User, group_names, holds, is_named, is_own


def why_not(user: User | None, row: StepRun, run: Run) -> str:
    """Return why ``user`` may not answer the approval ``row`` of ``run``; an empty text where they may.

    ``StepRun.objects.approvable_by`` says the same of many rows.
    """
    awaits = row.awaits or {}
    if user is None or user.pk is None:
        return "an approval is answered by a user"
    name = user.get_username()
    if not user.is_active:
        return f"user {name!r} is not active"
    if not awaits["allow_self"] and (str(user.pk) in awaits.get("askers", ()) or is_own(user, run)):
        return (
            f"user {name!r} triggered the run or changed what is approved, and the step does not allow_self"
        )
    if awaits["permission"] is not None:
        is_held = holds(user, awaits["permission"]) or holds(user, awaits["permission"], _about(run))
        return "" if is_held else f"user {name!r} lacks the permission {awaits['permission']!r}"
    if awaits["group"] is not None:
        return "" if awaits["group"] in group_names(user) else f"user {name!r} is not in {awaits['group']!r}"
    return "" if is_named(user, awaits["users"]) else f"user {name!r} is none of those who are asked"


def _about(run: Run) -> Model:
    subject = run.subject
    return run if subject is None else subject
