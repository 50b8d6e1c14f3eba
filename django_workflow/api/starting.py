"""Define a workflow, start runs of it, or see where one would go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Model

from ..engine import create, publish
from ..engine.dry import run as dry_runs
from ..engine.dry.report import DryRun
from ..exceptions import DefinitionError
from ..models import ManagedBy, Run, Workflow
from .finding import RunLike, find_run, known_user, name_of


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
    found = create.find_workflow(name_of(workflow), alias)
    order = create.make_order(found, input, key=key, subject=subject, using=alias)
    return create.create_run(found, order, using=alias, user=known_user(user))


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
    found = create.find_workflow(name_of(workflow), alias)
    orders = [
        create.make_order(found, each, key=None if keys is None else keys[place], using=alias)
        for place, each in enumerate(given)
    ]
    return create.create_runs(found, orders, using=alias, user=known_user(user))


def dry_run(
    workflow: str | Workflow,
    input: Mapping[str, Any] | None = None,
    *,
    outputs: Mapping[str, Any] | None = None,
    like: RunLike | None = None,
    using: str | None = None,
) -> DryRun:
    """Return where a run of ``workflow`` would go: nothing is written or sent, and no handler is called.

    Conditions, items and params are evaluated step by step. What a handler would return is taken from
    ``outputs`` (step name to output; a list of them for ``for_each``; an exception stands for a failure,
    ``Goto`` and ``End`` for themselves), or from the run ``like``, whose input serves when none is given.
    Where an output is missing that branch stops::

        dry_run("order", {"order": order}, outputs={"charge": {"id": "ch_1"}}).path

    Raises ``WorkflowNotFound``, also for a workflow that was never published, and ``ParamsError`` for input
    that does not fit or outputs of steps that do not exist.
    """
    alias = create.write_alias(using)
    earlier = None if like is None else find_run(like, using)
    return dry_runs.dry_run(name_of(workflow), input, outputs=outputs, like=earlier, using=alias)
