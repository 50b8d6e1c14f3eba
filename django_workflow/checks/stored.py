"""Stored versions that the code no longer fits; for the databases that ``check --database`` names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import OperationalError, ProgrammingError, connections, router
from django.db.models import Q

from ..engine.judge import check_definition
from ..links import NO_BASE_URL
from ..models import Run, Workflow, WorkflowVersion
from ..spelling import some

HINT = (
    "Keep the old type as an alias (@step(…, aliases=[…])) and old params as optional ones until the live "
    "runs are over, and publish a version that fits."
)
NO_URL_HINT = "Set it to the address of the site, such as 'https://shop.example'."


def check_versions(
    app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W005: a version, published or with live runs, whose types or params no longer fit the code.

    W007: one with an approval that is to send links, and ``BASE_URL`` is not set. Both are warnings, because
    ``migrate`` checks its database too, and the sync after it may be what publishes the version that fits.
    """
    return [message for alias in databases or () for message in _check_database(alias)]


def _check_database(alias: str) -> list[CheckMessage]:
    if not router.allow_migrate_model(alias, WorkflowVersion):
        return []
    try:
        if WorkflowVersion._meta.db_table not in connections[alias].introspection.table_names():
            return []
        return [message for version in _in_use(alias) for message in _check(version, alias)]
    except (OperationalError, ProgrammingError):
        # The tables are of another release, and migrate, which comes here too, will change them; or the
        # database is down, and Django 6.1 asks each one whether the command needs it or not.
        return []


def _in_use(alias: str) -> Any:
    published = Workflow.objects.using(alias).filter(published__isnull=False).values("published")
    live = Run.objects.using(alias).active().filter(version__isnull=False).values("version")
    versions = WorkflowVersion.objects.using(alias).filter(Q(pk__in=published) | Q(pk__in=live))
    return versions.only("number", "spec", "workflow__name", "workflow__published").select_related("workflow")


def _check(version: WorkflowVersion, alias: str) -> Iterator[CheckMessage]:
    _spec, problems = check_definition(version.spec)
    use = "published" if version.workflow.published_id == version.pk else "with live runs"
    whose = f"Version {version.number} of workflow {version.workflow.name!r} ({use})"
    if errors := [str(problem) for problem in problems if problem.level == "error"]:
        text = f"{whose} no longer fits the code: {'; '.join(errors)}."
        yield Warning(text, HINT, f"database {alias!r}", "django_workflow.W005")
    if steps := [problem.step for problem in problems if problem.message == NO_BASE_URL]:
        text = f"{whose} sends links by mail in {some(steps)}, and BASE_URL is not set: these steps fail."
        yield Warning(text, NO_URL_HINT, "settings.DJANGO_WORKFLOW['BASE_URL']", "django_workflow.W007")
