"""From shipped files to rows: what a file owns is written, what others own is left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db import router, transaction
from django.db.models import Q

from ..definition.reading import read_definition
from ..definition.spec import WorkflowSpec
from ..definition.text import Format, write_text
from ..definition.writing import write_definition
from ..exceptions import DefinitionError, OwnershipError, WorkflowNotFound
from ..models import ManagedBy, Step, Workflow, WorkflowVersion
from .files import ShippedFile, find_problems, read_shipped_files, shared_names
from .publish import hand_to_staff, save_definition, take_back
from .recursion import Upcoming, check_recursion

logger = logging.getLogger("django_workflow")


class Verdict(StrEnum):
    """What sync does about a file, or about a workflow whose file is gone."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    LEFT = "left to staff"
    GONE = "its file is gone"
    SWITCHED_OFF = "switched off"
    REFUSED = "refused"


# The digest of a workflow that --prune switched off.
PRUNED = "pruned"

CHANGES = frozenset({Verdict.CREATED, Verdict.UPDATED, Verdict.SWITCHED_OFF})


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What became of one workflow; ``note`` is the new version, a reason, or the difference of a preview."""

    name: str
    source: str
    verdict: Verdict
    note: str = ""


class _Row(NamedTuple):
    name: str
    managed_by: str
    source: str
    digest: str
    enabled: bool
    published_id: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    synced: Synced
    file: ShippedFile | None = None
    row: _Row | None = None


def sync(using: str, *, prune: bool = False) -> list[Synced]:
    """Write the shipped files that changed and publish them; return what became of each workflow.

    One query when nothing changed. With ``prune`` a workflow whose file is gone is switched off. A file that
    cannot be published is ``refused`` with the reason, and the others go on.
    """
    plan = _plan(using, prune)
    upcoming = _find_upcoming(plan)
    return [_write(each, using, upcoming) for each in plan]


def preview(using: str, *, prune: bool = False) -> list[Synced]:
    """Return what :func:`sync` would do, with the difference as a note. Nothing is written."""
    plan = _plan(using, prune)
    upcoming = _find_upcoming(plan)
    return [_show(each, using, upcoming) for each in plan]


def give_back(name: str, using: str) -> None:
    """Give a workflow that staff own back to its file; the next sync writes it.

    Raises ``WorkflowNotFound`` where no file has that name, ``OwnershipError`` where code owns the workflow.
    """
    files = {file.name: file for file in read_shipped_files() if file.name}
    if name not in files:
        known = ", ".join(files) or "none"
        raise WorkflowNotFound(f"no shipped file has a workflow named {name!r}; there are: {known}")
    owner = Workflow.objects.using(using).filter(name=name).values_list("managed_by", flat=True).first()
    if owner == ManagedBy.CODE:
        raise OwnershipError(f"workflow {name!r} belongs to code that calls define(), not to staff")
    if owner == ManagedBy.STAFF:
        take_back(name, managed_by=ManagedBy.FILE, source=files[name].source, using=using)


def export_text(workflow: Workflow, *, format: Format) -> str:
    """Return the published definition as the text of a file; the draft where nothing was published."""
    published = workflow.published
    return _as_text(workflow.as_definition() if published is None else published.spec, format)


def sync_after_migrate(
    *,
    using: str,
    apps: Any = installed_apps,
    app_config: AppConfig | None = None,
    verbosity: int = 0,
    stdout: Any = None,
    **options: Any,
) -> None:
    """Receive ``post_migrate``: sync where this release's tables are; say what changed, and log it too.

    Nothing is asked of the database where no app ships a file, for every flush of a test database comes here.
    """
    if router.allow_migrate_model(using, Workflow) and read_shipped_files() and _has_tables(apps):
        for each in sync(using):
            if each.verdict == Verdict.REFUSED:
                logger.error("%s was not synced on database %r: %s", each.source, using, each.note)
            elif each.verdict in CHANGES:
                logger.info("Workflow %r: %s from %s.", each.name, each.verdict, each.source)
                if verbosity >= 1 and stdout is not None:
                    stdout.write(f"  Workflow {each.name}: {each.verdict} from {each.source}, {each.note}")


def _has_tables(apps: Any) -> bool:
    """Whether the migrated state has the columns that this release writes: people migrate backwards, too."""
    return all(
        _columns(model) <= _migrated_columns(apps, model) for model in (Workflow, Step, WorkflowVersion)
    )


def _migrated_columns(apps: Any, model: Any) -> set[str]:
    try:
        return _columns(apps.get_model(model._meta.label))
    except LookupError:
        return set()


def _columns(model: Any) -> set[str]:
    return {field.column for field in model._meta.local_concrete_fields}


def _plan(using: str, prune: bool) -> list[_Planned]:
    files = read_shipped_files()
    rows = _read_rows(files, using)
    shared = shared_names(files)
    unreadable = {file.source for file in files if not file.name}
    planned = []
    for file in files:
        row = rows.get(file.name)
        synced = _decide(file, row, shared.get(file.name), unreadable)
        planned.append(_Planned(synced=synced, file=file, row=row))
    shipped = {file.name for file in files}
    gone = _gone(rows.values(), shipped, unreadable, prune)
    return [*planned, *(_Planned(synced=synced) for synced in gone)]


def _read_rows(files: Sequence[ShippedFile], using: str) -> dict[str, _Row]:
    names = [file.name for file in files if file.name]
    rows = (
        Workflow.objects.using(using)
        .filter(Q(name__in=names) | Q(managed_by=ManagedBy.FILE))
        .order_by("name")
    )
    return {row[0]: _Row(*row) for row in rows.values_list(*_Row._fields)}


def _decide(
    file: ShippedFile, row: _Row | None, sharing: Sequence[str] | None, unreadable: set[str]
) -> Synced:
    refused = Synced(name=file.name or file.source, source=file.source, verdict=Verdict.REFUSED)
    if file.troubles:
        return replace(refused, note="; ".join(map(str, file.troubles)))
    if sharing is not None:
        return replace(refused, note=f"the name {file.name!r} is in several files: {', '.join(sharing)}")
    if row is not None and row.managed_by == ManagedBy.CODE:
        return replace(refused, note=f"workflow {file.name!r} belongs to code that calls define()")
    if row is not None and row.source in unreadable and row.managed_by == ManagedBy.FILE:
        return replace(refused, note=f"workflow {file.name!r} belongs to {row.source}, which cannot be read")
    return replace(refused, verdict=_verdict(file, row), note=_remark(row))


def _verdict(file: ShippedFile, row: _Row | None) -> Verdict:
    if row is None:
        return Verdict.CREATED
    if row.managed_by == ManagedBy.STAFF:
        return Verdict.LEFT
    is_same = (row.source, row.digest) == (file.source, file.digest)
    return Verdict.UNCHANGED if is_same else Verdict.UPDATED


def _remark(row: _Row | None) -> str:
    return "" if row is None or row.enabled or row.digest == PRUNED else "it is switched off"


def _gone(rows: Iterable[_Row], shipped: set[str], unreadable: set[str], prune: bool) -> Iterator[Synced]:
    verdict = Verdict.SWITCHED_OFF if prune else Verdict.GONE
    for row in rows:
        is_gone = row.managed_by == ManagedBy.FILE and row.name not in shipped
        if is_gone and row.enabled and row.source not in unreadable:
            yield Synced(name=row.name, source=row.source, verdict=verdict)


def _find_upcoming(plan: Iterable[_Planned]) -> Upcoming:
    """Return how to find what sync is about to publish: files call each other, whatever their order."""
    files = {each.file.name: each.file for each in plan if each.file and each.synced.verdict in CHANGES}

    @cache
    def read(name: str) -> WorkflowSpec | None:
        file = files.get(name)
        if file is None or any(problem.level == "error" for problem in find_problems(file)):
            return None
        return read_definition(file.data)[0]

    return read


def _write(planned: _Planned, using: str, upcoming: Upcoming) -> Synced:
    synced = planned.synced
    if synced.verdict == Verdict.SWITCHED_OFF:
        # The digest says who switched it off, so that a file that comes back switches it on.
        rows = Workflow.objects.using(using).filter(name=synced.name, managed_by=ManagedBy.FILE)
        rows.update(enabled=False, digest=PRUNED)
    if planned.file is None or synced.verdict not in CHANGES:
        return synced
    try:
        workflow = _save(planned.file, planned.row, using, upcoming)
    except DefinitionError as error:
        return replace(synced, verdict=Verdict.REFUSED, note="; ".join(map(str, error.problems)))
    except OwnershipError as error:
        return replace(synced, verdict=Verdict.REFUSED, note=str(error))
    return _tell(synced, workflow, planned)


def _save(file: ShippedFile, row: _Row | None, using: str, upcoming: Upcoming) -> Workflow:
    with transaction.atomic(using=using):
        if row is not None:
            # A file that was renamed, or moved to another app, keeps its workflow.
            rows = Workflow.objects.using(using).filter(name=file.name, managed_by=ManagedBy.FILE)
            rows.update(source=file.source)
        workflow = save_definition(
            file.data,
            managed_by=ManagedBy.FILE,
            using=using,
            source=file.source,
            digest=file.digest,
            enabled=file.is_enabled if row is None or row.digest == PRUNED else None,
            upcoming=upcoming,
        )
        if file.is_editable and workflow.managed_by == ManagedBy.FILE:
            hand_to_staff(workflow, using=using)
    return workflow


def _tell(synced: Synced, workflow: Workflow, planned: _Planned) -> Synced:
    if planned.file is None or workflow.digest != planned.file.digest or workflow.published is None:
        # Staff made or took over the workflow after it was looked at.
        return replace(synced, verdict=Verdict.LEFT)
    row = planned.row
    if row is not None and row.published_id == workflow.published_id and row.enabled == workflow.enabled:
        return replace(synced, verdict=Verdict.UNCHANGED)
    version = f"version {workflow.published.number}"
    return replace(synced, note=version if workflow.enabled else f"{version}; it is switched off")


def _show(planned: _Planned, using: str, upcoming: Upcoming) -> Synced:
    synced, file = planned.synced, planned.file
    if file is None or synced.verdict in (Verdict.REFUSED, Verdict.UNCHANGED):
        return synced
    errors = [str(problem) for problem in find_problems(file) if problem.level == "error"]
    if not errors and synced.verdict in CHANGES:
        spec, _misread = read_definition(file.data)
        errors = [str(problem) for problem in check_recursion(spec, using=using, upcoming=upcoming)]
    if errors:
        return replace(synced, verdict=Verdict.REFUSED, note="; ".join(errors))
    workflow = Workflow.objects.using(using).select_related("published").filter(name=file.name).first()
    before = "" if workflow is None else export_text(workflow, format="yaml")
    after = _as_text(file.data, "yaml")
    lines = list(unified_diff(before.splitlines(), after.splitlines(), "database", file.source, lineterm=""))
    if not lines and synced.verdict == Verdict.UPDATED:
        return replace(synced, verdict=Verdict.UNCHANGED)
    return replace(synced, note="\n".join(lines))


def _as_text(data: Any, format: Format) -> str:
    """Return definition data in its one stable order; what cannot be read as a definition stays as it is."""
    spec, problems = read_definition(data)
    written = dict(data) if problems else write_definition(spec)
    written.pop("format", None)
    return write_text(written, format=format)
