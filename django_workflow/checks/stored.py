"""Stored versions that the code no longer fits; for the databases that ``check --database`` names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import OperationalError, ProgrammingError, connections, router
from django.db.models import Q

from ..engine.publish import check_definition
from ..models import Run, Workflow, WorkflowVersion

HINT = (
    "Keep the old type as an alias (@step(…, aliases=[…])) and old params as optional ones until the live "
    "runs are over, and publish a version that fits."
)


def check_versions(
    app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W005: a version, published or with live runs, whose types or params no longer fit the code.

    A warning, because ``migrate`` checks its database too, and the sync after it may be what publishes the
    version that fits.
    """
    return [message for alias in databases or () for message in _check_database(alias)]


def _check_database(alias: str) -> list[CheckMessage]:
    if not router.allow_migrate_model(alias, WorkflowVersion):
        return []
    try:
        if WorkflowVersion._meta.db_table not in connections[alias].introspection.table_names():
            return []
        return [message for version in _in_use(alias) if (message := _check(version, alias)) is not None]
    except (OperationalError, ProgrammingError):
        # The tables are of another release, and migrate, which comes here too, will change them; or the
        # database is down, and Django 6.1 asks each one whether the command needs it or not.
        return []


def _in_use(alias: str) -> Any:
    published = Workflow.objects.using(alias).filter(published__isnull=False).values("published")
    live = Run.objects.using(alias).active().filter(version__isnull=False).values("version")
    versions = WorkflowVersion.objects.using(alias).filter(Q(pk__in=published) | Q(pk__in=live))
    return versions.only("number", "spec", "workflow__name", "workflow__published").select_related("workflow")


def _check(version: WorkflowVersion, alias: str) -> CheckMessage | None:
    _spec, problems = check_definition(version.spec)
    errors = [str(problem) for problem in problems if problem.level == "error"]
    if not errors:
        return None
    use = "published" if version.workflow.published_id == version.pk else "with live runs"
    text = f"Version {version.number} of workflow {version.workflow.name!r} ({use}) no longer fits the code: "
    return Warning(text + "; ".join(errors) + ".", HINT, f"database {alias!r}", "django_workflow.W005")
