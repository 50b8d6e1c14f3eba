"""The public verbs: what a project calls. Each works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db.models import Model

from .engine import control, create, publish
from .exceptions import DefinitionError, WorkflowNotFound
from .models import ManagedBy, Run, Workflow

RunLike = Run | UUID | str | tuple[str, str]


def define(
    name: str,
    *,
    steps: Iterable[Mapping[str, Any]],
    description: str = "",
    input: Mapping[str, Any] | None = None,
    queue: str | None = None,
    timeout: Any = None,
    on_failure: Any = None,
    max_visits: int | None = None,
    using: str | None = None,
) -> Workflow:
    """Create or replace the workflow ``name`` and publish it; an unchanged definition makes no new version.

    ``steps`` are mappings with the keys of the definition language; durations may be ``timedelta``, policies
    ``Retry``::

        define("welcome", steps=[
            {"type": "mail.send", "with": {"to": "{{ user.email }}", "subject": "Welcome!", "body":
            "Hello."}}, {"type": "contacts.sync", "retry": Retry(attempts=5)},
        ])

    A workflow that staff took over in the admin is left alone, with a log line. Raises ``DefinitionError``
    with everything that is wrong, also while apps are loading; ``OwnershipError`` where a file owns the name.
    """
    if not apps.ready:
        problem = (
            "apps are still loading, and the database must not be written now: call define() from a "
            "migration, a post_migrate receiver or a management command, or ship a workflows/*.yaml file"
        )
        raise DefinitionError(name, [problem])
    fields = {
        "description": description or None,
        "input": input,
        "queue": queue,
        "timeout": timeout,
        "on_failure": on_failure,
        "max_visits": max_visits,
    }
    given = {key: value for key, value in fields.items() if value is not None}
    data = {"name": name, **given, "steps": list(steps)}
    return publish.save_definition(data, managed_by=ManagedBy.CODE, using=create.write_alias(using))


def trigger(
    workflow: str | Workflow,
    input: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    subject: Model | None = None,
    user: AbstractBaseUser | None = None,
    using: str | None = None,
) -> Run:
    """Start a run in the caller's transaction: rolled back, nothing ran.

    Without a queue it is driven after the commit.

    ``key`` (1 to 255 characters): one run per workflow and key; a second call returns the first run,
    ``was_created`` False. ``subject`` is the row the run is about, ``user`` who started it::

        run = trigger("welcome", {"user": request.user}, key=f"signup-{request.user.pk}")

    Raises ``WorkflowNotFound``, ``ParamsError`` for input that does not fit what is declared,
    ``NotStorable``. A workflow that is switched off makes a run that is cancelled from birth.
    """
    alias = create.write_alias(using)
    found = create.find_workflow(_name(workflow), alias)
    order = create.make_order(found, input, key=key, subject=subject, using=alias)
    return create.create_run(found, order, using=alias, user=_known(user))


def trigger_many(
    workflow: str | Workflow,
    inputs: Iterable[Mapping[str, Any]],
    *,
    keys: Sequence[str] | None = None,
    user: AbstractBaseUser | None = None,
    using: str | None = None,
) -> list[Run]:
    """Start one run for each of ``inputs``, in one transaction, and return them in that order.

    ``keys`` are as many as inputs. Raises what :func:`trigger` raises, and ``ValueError`` when their numbers
    differ; then no run is started.
    """
    alias = create.write_alias(using)
    given = list(inputs)
    if keys is not None and len(keys) != len(given):
        raise ValueError(f"{len(given)} inputs and {len(keys)} keys: each run needs its own key")
    found = create.find_workflow(_name(workflow), alias)
    orders = [
        create.make_order(found, each, key=None if keys is None else keys[place], using=alias)
        for place, each in enumerate(given)
    ]
    return create.create_runs(found, orders, using=alias, user=_known(user))


def cancel_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """End ``run`` (a Run, its id, or ``(workflow name, key)``) as cancelled.

    What waits ends at once, what runs is told.

    Returns the run as it then is. Raises ``VerbRefused`` for a final run, ``WorkflowNotFound`` for one that
    does not exist.
    """
    found = _find(run, using)
    return control.cancel(found, using=_alias(found), by=_known(by), note=note)


def retry_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Go on with a failed ``run`` from its failed steps; the outputs of the others are kept.

    Returns the run as it then is. Raises ``VerbRefused`` for a run that is not failed.
    """
    found = _find(run, using)
    return control.retry(found, using=_alias(found), by=_known(by), note=note)


def _name(workflow: str | Workflow) -> str:
    return workflow.name if isinstance(workflow, Workflow) else workflow


def _known(user: AbstractBaseUser | None) -> AbstractBaseUser | None:
    """Return the user where it is one: an anonymous visitor has no row."""
    return user if user is not None and user.pk is not None else None


def _alias(run: Run) -> str:
    return run._state.db or create.write_alias(None)


def _find(run: RunLike, using: str | None) -> Run:
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
