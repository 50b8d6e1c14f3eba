"""Annotations of our own. A type checker sees the plain type, which is also what the handler gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Marker:
    """What an annotation means beside its type: ``secret``, ``step`` or ``condition``."""

    name: str


Secret = Annotated[str, Marker("secret")]
"""A name from ``DJANGO_WORKFLOW["SECRETS"]``; the handler gets the secret itself."""

StepName = Annotated[str, Marker("step")]
"""The name of a step of the same workflow."""

Condition = Annotated[bool, Marker("condition")]
"""An expression, as in ``if``; the engine evaluates it, the handler gets its truth."""
