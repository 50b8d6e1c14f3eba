"""Published versions as programs, loaded once per process: a version never changes."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from ..definition.program import Program
from ..definition.reading import read_definition
from ..models import WorkflowVersion


@lru_cache(maxsize=256)
def get_program(version_id: UUID, using: str) -> Program:
    """Return the program of a version. A version stored by another release is read as far as this one can."""
    stored = WorkflowVersion.objects.using(using).only("spec").get(pk=version_id)
    spec, _problems = read_definition(stored.spec)
    return Program(spec)
