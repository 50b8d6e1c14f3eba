"""What the verbs are given: a run in one of its names, a workflow, a user."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError

from ..engine import create
from ..exceptions import WorkflowNotFound
from ..models import Run, Workflow
from ..storable import is_storable_text

RunLike = Run | UUID | str | tuple[str, str]


def name_of(workflow: str | Workflow) -> str:
    """Return the name of a workflow that is given by it, or as a row."""
    return workflow.name if isinstance(workflow, Workflow) else workflow


def known_user(user: AbstractBaseUser | None) -> AbstractBaseUser | None:
    """Return the user where it is one: an anonymous visitor has no row."""
    return user if user is not None and user.pk is not None else None


def alias_of(run: Run) -> str:
    """Return the database that the run lives on."""
    return run._state.db or create.write_alias(None)


def find_run(run: RunLike, using: str | None) -> Run:
    """Return the run that is given: as a Run, its id, or ``(workflow name, key)``.

    Raises ``WorkflowNotFound`` for one that does not exist.
    """
    if isinstance(run, Run):
        return run
    runs = Run.objects.using(create.write_alias(using))
    try:
        is_possible = all(is_storable_text(str(value)) for value in lookup_of(run).values())
        row = runs.filter(**lookup_of(run)).first() if is_possible else None
    except ValidationError:
        row = None
    if row is None:
        raise WorkflowNotFound(f"no run {run!r} on database {runs.db!r}")
    return row


def lookup_of(run: UUID | str | tuple[str, str]) -> dict[str, Any]:
    """Return how the run of that id, or ``(workflow name, key)``, is looked up. Raises ``TypeError``."""
    if not isinstance(run, tuple):
        return {"pk": run}
    workflow, key = split_key(run)
    return {"workflow__name": workflow, "key": key}


def split_key(run: tuple[str, ...]) -> tuple[str, str]:
    """Return workflow name and key. Raises ``TypeError`` where there are not two texts."""
    if len(run) != 2 or not all(isinstance(part, str) for part in run):
        raise TypeError(f"{run!r} must be a Run, its id, or (workflow name, key)")
    return run[0], run[1]
