"""Which workflows take a row of a model as their input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.db.models.fields.json import KeyTransform

from ..models import Workflow, WorkflowVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """A workflow by key and name, and the field of its declared input that takes the row."""

    pk: int
    name: str
    field: str

    @property
    def value(self) -> str:
        """The choice of it in a form."""
        return f"{self.name}:{self.field}"


def find_taking(model: type[Model]) -> list[Taking]:
    """Return the workflows that are on and published, and take a row of ``model``. One query.

    Only the declared input is read, not the steps.
    """
    published = Workflow.objects.filter(enabled=True, published__isnull=False).values("published")
    versions = WorkflowVersion.objects.filter(pk__in=published).order_by("workflow__name")
    inputs = versions.annotate(declared=KeyTransform("input", "spec"))
    return [
        Taking(pk=pk, name=name, field=field)
        for pk, name, declared in inputs.values_list("workflow_id", "workflow__name", "declared")
        for field, about in (declared if isinstance(declared, dict) else {}).items()
        if _takes(about, model)
    ]


def _takes(about: Any, model: type[Model]) -> bool:
    kind = about.get("type", "") if isinstance(about, dict) else about
    return isinstance(kind, str) and kind.lower() == model._meta.label_lower
