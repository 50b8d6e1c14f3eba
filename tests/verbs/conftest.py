"""A handler that can be mended, for runs that fail first and are put right then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import StepContext
from tests.support import steps_for_tests  # noqa: F401 – registers them
from tests.testapp.models import Note


@pytest.fixture
def broken(register: Callable[..., Any]) -> set[str]:
    """Return the names of the steps of the type ``tests.work`` that fail; each call is noted."""
    names: set[str] = set()

    @register("tests.work")
    def work(context: StepContext) -> str:
        Note.objects.create(text=f"{context.step} {context.attempt}")
        if context.step in names:
            raise ValueError(f"no {context.step}")
        return f"{context.step} worked"

    return names
