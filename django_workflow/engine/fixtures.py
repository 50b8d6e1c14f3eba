"""Workflows that ``loaddata`` brings: they take the place of what ``migrate`` has published already.

A database is moved by ``dumpdata``, ``migrate`` and ``loaddata``. In between ``post_migrate`` publishes the
shipped files under keys of its own, which are those of other workflows in the dump.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import ManyToOneRel, Max
from django.db.models.signals import pre_save

from ..exceptions import OwnershipError
from ..models import Event, ManagedBy, Run, Step, Workflow, WorkflowVersion
from .sync import sync_after_migrate

logger = logging.getLogger("django_workflow")


def connect() -> None:
    """Make room for rows of fixtures, from now on."""
    for model in _MAKE_ROOM:
        uid = f"django_workflow.fixtures.{model.__name__}"
        pre_save.connect(_on_save, sender=model, dispatch_uid=uid)


def _on_save(*, sender: type[Any], instance: Any, raw: bool, using: str, **options: Any) -> None:
    # A row without a key, in a fixture written by hand, gets a free one.
    if raw and instance.pk is not None:
        with transaction.atomic(using=using):
            _MAKE_ROOM[sender](instance, using)


def _make_room_for_workflow(loaded: Workflow, using: str) -> None:
    rows = Workflow.objects.using(using)
    for other in rows.filter(pk=loaded.pk).exclude(name=loaded.name):
        _move(other, using)
    for same in rows.filter(name=loaded.name):
        why = _why_kept(same, using)
        if not why and not _has_version(same, loaded, using):
            _replace(same, using)
        elif same.pk != loaded.pk:
            raise _refusal(loaded, using, why)


def _make_room_for_step(loaded: Step, using: str) -> None:
    rows = Step.objects.using(using)
    rows.filter(workflow=loaded.workflow_id, name=loaded.name).exclude(pk=loaded.pk).delete()
    for other in rows.filter(pk=loaded.pk).exclude(workflow=loaded.workflow_id):
        _move(other, using)


def _refuse_version(loaded: WorkflowVersion, using: str) -> None:
    same = WorkflowVersion.objects.using(using).filter(workflow=loaded.workflow_id, number=loaded.number)
    for other in same.exclude(pk=loaded.pk).select_related("workflow"):
        raise _refusal(other.workflow, using, _why_kept(other.workflow, using))


_MAKE_ROOM: dict[type[Any], Any] = {
    Workflow: _make_room_for_workflow,
    Step: _make_room_for_step,
    WorkflowVersion: _refuse_version,
}


def _why_kept(workflow: Workflow, using: str) -> str:
    """Return why the workflow must stay; an empty text where ``migrate``, or ``define``, made all of it."""
    if Run.objects.using(using).filter(workflow=workflow).exists():
        return "which has runs"
    if Event.objects.using(using).filter(workflow=workflow).exists():
        return "which has events for runs to come"
    versions = WorkflowVersion.objects.using(using).filter(workflow=workflow)
    is_made_by_staff = workflow.managed_by == ManagedBy.STAFF and not workflow.source
    if is_made_by_staff or versions.filter(published_by__isnull=False).exists():
        return "which staff have made or published"
    return ""


def _has_version(workflow: Workflow, loaded: Workflow, using: str) -> bool:
    """Whether both are one workflow, an earlier or later state of it."""
    versions = WorkflowVersion.objects.using(using).filter(workflow=workflow)
    is_known = loaded.published_id in versions.values_list("pk", flat=True)
    return workflow.pk == loaded.pk and is_known


def _replace(workflow: Workflow, using: str) -> None:
    logger.info("Workflow %r on database %r is replaced by that of a fixture.", workflow.name, using)
    workflow.delete(using=using)
    # Its file may be newer than the fixture.
    transaction.on_commit(partial(sync_after_migrate, using=using), using=using, robust=True)


def _refusal(loaded: Workflow, using: str, why: str) -> OwnershipError:
    return OwnershipError(
        f"workflow {loaded.name!r} of the fixture cannot be loaded: database {using!r} has another workflow "
        f"of that name, {why or 'from elsewhere'}. Load the fixture into a database that has only been "
        "migrated, or delete that workflow and its runs first."
    )


def _move(row: Workflow | Step, using: str) -> None:
    """Give ``row`` a key that is free, and all that refers to it."""
    rows = type(row)._base_manager.using(using)
    free = rows.aggregate(last=Max("pk"))["last"] + 1
    rows.filter(pk=row.pk).update(id=free)
    for relation in row._meta.get_fields(include_hidden=True):
        if isinstance(relation, ManyToOneRel):
            referring = relation.related_model._base_manager.using(using)
            referring.filter(**{relation.field.name: row.pk}).update(**{relation.field.name: free})
