"""Publishing: from a draft to an immutable, numbered version; and who may write a draft at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..definition.reading import read_definition
from ..definition.spec import Problem, StepSpec, WorkflowSpec, first_problems
from ..definition.writing import write_definition, write_step
from ..exceptions import DefinitionError, OwnershipError, WorkflowNotFound
from ..models import ManagedBy, Step, Workflow, WorkflowVersion
from .call_inputs import check_call_inputs
from .judge import check_definition
from .recursion import Upcoming, check_recursion, nothing_upcoming

logger = logging.getLogger("django_workflow")


def demand_valid(data: Any) -> tuple[WorkflowSpec, list[Problem]]:
    """Return the spec and its warnings. Raises ``DefinitionError`` with every problem."""
    spec, problems = check_definition(data)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        raise DefinitionError(spec.name, errors)
    return spec, problems


def publish(workflow: Workflow, *, using: str, by: AbstractBaseUser | None = None) -> WorkflowVersion:
    """Make the draft the published version, and return it; an unchanged draft makes no new one.

    Raises ``DefinitionError`` with every problem of the draft.
    """
    with transaction.atomic(using=using):
        _lock(workflow, using)
        spec, warnings = demand_valid(workflow.as_definition())
        warnings += _check_calls(spec, using, nothing_upcoming)
        return _publish(workflow, spec, warnings, using, by)


def save_definition(
    data: Mapping[str, Any],
    *,
    managed_by: ManagedBy,
    using: str,
    source: str = "",
    digest: str = "",
    enabled: bool | None = None,
    upcoming: Upcoming = nothing_upcoming,
) -> Workflow:
    """Create or replace a workflow and publish it; one that staff own is left alone, and a log line says so.

    ``upcoming`` gives the definitions of others that are about to be published, which may call this one.
    Raises ``DefinitionError``, and ``OwnershipError`` where code or another file owns it.
    """
    spec, warnings = demand_valid(data)
    with transaction.atomic(using=using):
        manager = Workflow.objects.using(using)
        manager.bulk_create(
            [Workflow(name=spec.name, managed_by=managed_by, source=source)], ignore_conflicts=True
        )
        workflow: Workflow = manager.get(name=spec.name)
        _lock(workflow, using)
        if not _may_write(workflow, managed_by, source):
            return workflow
        warnings += _check_calls(spec, using, upcoming)
        workflow.source, workflow.digest = source, digest
        if enabled is not None:
            workflow.enabled = enabled
        if write_definition(read_definition(workflow.as_definition())[0]) != write_definition(spec):
            _replace_draft(workflow, spec, using)
        workflow.save(using=using)
        _publish(workflow, spec, warnings, using, None)
    return workflow


def take_back(name: str, *, managed_by: ManagedBy, source: str, using: str) -> Workflow:
    """Give a workflow that staff own back to its file; the next sync writes it.

    Raises ``WorkflowNotFound``.
    """
    rows: QuerySet[Workflow] = Workflow.objects.using(using).filter(name=name)
    if not rows.update(managed_by=managed_by, source=source, digest=""):
        raise WorkflowNotFound(f"no workflow named {name!r} on database {using!r}")
    return rows.get()


def hand_to_staff(workflow: Workflow, *, using: str) -> None:
    """Let staff edit a workflow that a file or code owned: sync and ``define`` leave it alone from now on."""
    Workflow.objects.using(using).filter(pk=workflow.pk).update(managed_by=ManagedBy.STAFF)
    workflow.managed_by = ManagedBy.STAFF


def _lock(workflow: Workflow, using: str) -> None:
    # By a write, not by SELECT FOR UPDATE, which would block every trigger().
    Workflow.objects.using(using).filter(pk=workflow.pk).update(updated_at=timezone.now())
    workflow.refresh_from_db(using=using)


def _check_calls(spec: WorkflowSpec, using: str, upcoming: Upcoming) -> list[Problem]:
    """Return warnings. Raises ``DefinitionError`` where the calls lead back without end."""
    problems = first_problems(check_recursion(spec, using=using, upcoming=upcoming))
    if problems:
        raise DefinitionError(spec.name, problems)
    return first_problems(check_call_inputs(spec, using=using, upcoming=upcoming))


def _may_write(workflow: Workflow, managed_by: ManagedBy, source: str) -> bool:
    owner = workflow.managed_by
    if owner == managed_by and workflow.source == source:
        return True
    if owner == ManagedBy.STAFF:
        logger.warning(
            "Workflow %r belongs to staff, who edit it in the admin; it was left as it is.", workflow.name
        )
        return False
    whose = f"the file {workflow.source}" if owner == ManagedBy.FILE else "code that calls define()"
    raise OwnershipError(
        f"workflow {workflow.name!r} belongs to {whose}: rename one of the two, or remove the other."
    )


def _publish(
    workflow: Workflow,
    spec: WorkflowSpec,
    warnings: Sequence[Problem],
    using: str,
    by: AbstractBaseUser | None,
) -> WorkflowVersion:
    data = write_definition(spec)
    if workflow.published is not None and workflow.published.spec == data:
        return workflow.published
    versions = WorkflowVersion.objects.using(using).filter(workflow=workflow)
    number = (versions.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    version = WorkflowVersion(
        workflow=workflow,
        number=number,
        spec=data,
        warnings=[str(problem) for problem in warnings],
        published_by_id=None if by is None else by.pk,
    )
    version.save(using=using, force_insert=True)
    workflow.published = version
    workflow.save(using=using, update_fields=["published", "updated_at"])
    return version


def _replace_draft(workflow: Workflow, spec: WorkflowSpec, using: str) -> None:
    data = write_definition(spec)
    workflow.description = spec.description
    workflow.input = data.get("input")
    workflow.queue = spec.queue or ""
    workflow.timeout = str(data.get("timeout", ""))
    workflow.on_failure = data.get("on_failure")
    workflow.max_visits = spec.max_visits
    steps = Step.objects.using(using)
    steps.filter(workflow=workflow).delete()
    steps.bulk_create([_draft_step(workflow, step, position) for position, step in enumerate(spec.steps)])


def _draft_step(workflow: Workflow, spec: StepSpec, position: int) -> Step:
    data = write_step(spec)
    texts = {key: str(data.get(key, "")) for key in ("for_each", "next", "delay", "queue")}
    values = {key: data.get(key) for key in ("needs", "max_parallel", "retry", "on_error", "undo")}
    timeout = "" if "timeout" not in data else str(data["timeout"] or "none")
    return Step(
        workflow=workflow,
        position=position,
        name=spec.name,
        type=spec.type,
        params=dict(spec.params),
        condition=spec.condition or "",
        join=spec.join,
        timeout=timeout,
        **texts,
        **values,
    )
