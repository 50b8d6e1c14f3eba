"""The public verbs: what a project calls. Each works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db.models import Model

from .engine import (
    approvals,
    callers,
    control,
    create,
    dry_report,
    publish,
    restart,
    retry,
    send,
    skip,
)
from .engine import dry_run as dry_runs
from .engine import undo_run as undo
from .exceptions import DefinitionError, WorkflowNotFound
from .models import ManagedBy, Run, StepRun, Workflow

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
    return retry.retry(found, using=_alias(found), by=_known(by), note=note, wake=callers.wake_callers)


def pause_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Let nothing more of ``run`` start until it is resumed.

    What runs is finished and recorded; events are kept, and timers count on. Returns the run as it then is.
    Raises ``VerbRefused`` for a run that is final, ending or paused already.
    """
    found = _find(run, using)
    return control.pause(found, using=_alias(found), by=_known(by), note=note)


def resume_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Let a paused ``run`` go on: what came due meanwhile happens now, its deadline too.

    Returns the run as it then is. Raises ``VerbRefused`` for a run that is not paused.
    """
    found = _find(run, using)
    return control.resume(found, using=_alias(found), by=_known(by), note=note)


def restart_run(
    run: RunLike,
    *,
    from_step: str | None = None,
    input: Mapping[str, Any] | None = None,
    newest: bool = False,
    by: AbstractBaseUser | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Start a new run in place of a final one, and return it; it gets the key, and the old one loses it.

    It has the same input and version, unless ``input`` is given or the ``newest`` published version asked
    for. ``from_step``: what ended well and does not come after that step is copied, the state that it left
    too; the new run goes on from there::

        restart_run(run, from_step="charge", newest=True, by=request.user, note="the provider was down")

    Raises ``VerbRefused`` for a run that is not over, for an unknown step and for a workflow that is switched
    off; ``ParamsError`` for input that does not fit.
    """
    found = _find(run, using)
    asked = restart.Restart(from_step=from_step, input=input, newest=newest)
    return restart.restart(found, asked, using=_alias(found), by=_known(by), note=note)


def skip_step(
    run: RunLike,
    step: str,
    output: Any = None,
    *,
    by: AbstractBaseUser | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Pass over a ``step`` that waits, or whose failure ended ``run``: it is skipped, with that ``output``.

    What follows starts as if it were done; what it waited for counts no more. ``"<name>:undo"`` names the
    undo of a step. Returns the run as it then is. Raises ``VerbRefused`` where the step neither waits nor has
    failed, ``NotStorable`` for an output that cannot be kept.
    """
    found = _find(run, using)
    alias, wake = _alias(found), callers.wake_callers
    return skip.skip(found, step, output, using=alias, by=_known(by), note=note, wake=wake)


def dry_run(
    workflow: str | Workflow,
    input: Mapping[str, Any] | None = None,
    *,
    outputs: Mapping[str, Any] | None = None,
    like: RunLike | None = None,
    using: str | None = None,
) -> dry_report.DryRun:
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
    earlier = None if like is None else _find(like, using)
    return dry_runs.dry_run(_name(workflow), input, outputs=outputs, like=earlier, using=alias)


def undo_run(
    run: RunLike, *, by: AbstractBaseUser | None = None, note: str = "", using: str | None = None
) -> Run:
    """Take back what the done steps of a ``run`` did, by their ``undo``, the latest first, each once.

    For a run that is over, however it ended; it has that status again when everything is undone. After an
    undo that failed, tries that one again and goes on. Returns the run as it then is. Raises ``VerbRefused``
    for a run that is not over, was restarted, or has nothing to undo.
    """
    found = _find(run, using)
    return undo.undo(found, using=_alias(found), by=_known(by), note=note)


def send_event(
    run: RunLike, name: str, payload: Any = None, *, id: str | None = None, using: str | None = None
) -> bool:
    """Send an event to ``run``: it wakes the step that waits for that name, now or later.

    Written in the caller's transaction. ``id`` (1 to 255 characters): the same counts once, however often it
    is sent. For ``(workflow name, key)`` without a run the event is kept until there is one::

        send_event(("order-fulfilment", f"order-{order.pk}"), "paid", {"amount": 12}, id=request_id)

    Returns False where the run is final: nothing is stored then, and nothing raised. Raises
    ``WorkflowNotFound`` for an unknown run or workflow, ``NotStorable`` and ``ValueError``.
    """
    if isinstance(run, tuple):
        alias, (workflow, key) = create.write_alias(using), run
        found = create.find_workflow(workflow, alias)
        return send.send_to_key(alias, found, key, name, payload, event_id=id)
    row = _find(run, using)
    return send.send_to_run(_alias(row), row.pk, name, payload, event_id=id)


def approve(
    run: RunLike,
    step: str | StepRun,
    *,
    by: AbstractBaseUser,
    data: Mapping[str, Any] | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Approve, as ``by``, what the step ``step`` of ``run`` asks; when enough have, the run goes on.

    ``step`` is its name, or the step run where several items of it wait; ``data`` fits the step's ``form``::

        approve(run, "approve", by=request.user, data={"limit": 500}, note="a good customer")

    Returns the run as it then is. Raises ``NotAllowed`` for who may not answer or has done so,
    ``ParamsError`` for wrong ``data``, ``VerbRefused`` where the step does not wait, ``WorkflowNotFound``
    without such a run.
    """
    return _answer(run, step, is_approved=True, by=by, data=data, note=note, using=using)


def reject(
    run: RunLike,
    step: str | StepRun,
    *,
    by: AbstractBaseUser,
    data: Mapping[str, Any] | None = None,
    note: str = "",
    using: str | None = None,
) -> Run:
    """Reject, as ``by``, what the step ``step`` of ``run`` asks: it fails with ``Rejected``, at once.

    ``data`` need not be complete, and ``note`` becomes the error's message. Returns and raises what
    :func:`approve` does.
    """
    return _answer(run, step, is_approved=False, by=by, data=data, note=note, using=using)


def _answer(
    run: RunLike,
    step: str | StepRun,
    *,
    is_approved: bool,
    by: AbstractBaseUser,
    data: Mapping[str, Any] | None,
    note: str,
    using: str | None,
) -> Run:
    found = _find(run, using)
    return approvals.answer(
        found, step, is_approved=is_approved, by=_known(by), data=data, note=note, using=_alias(found)
    )


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
