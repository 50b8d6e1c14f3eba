"""What a run that waits is told: events, and the answers of people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from ..engine import approvals, create, send
from ..models import Run, StepRun
from .finding import RunLike, alias_of, find_run, known_user, split_key


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
        alias, (workflow, key) = create.write_alias(using), split_key(run)
        found = create.find_workflow(workflow, alias)
        return send.send_to_key(alias, found, key, name, payload, event_id=id)
    row = find_run(run, using)
    return send.send_to_run(alias_of(row), row.pk, name, payload, event_id=id)


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
    found = find_run(run, using)
    return approvals.answer(
        found, step, is_approved=is_approved, by=known_user(by), data=data, note=note, using=alias_of(found)
    )
