"""What the verbs are given: a run in one of its names, a workflow, a user."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError

from ..engine import create
from ..exceptions import WorkflowNotFound
from ..models import Run, Workflow

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
        found = (
            runs.filter(workflow__name=run[0], key=run[1]) if isinstance(run, tuple) else runs.filter(pk=run)
        )
    except ValidationError:
        found = runs.none()
    row = found.first()
    if row is None:
        raise WorkflowNotFound(f"no run {run!r} on database {runs.db!r}")
    return row
