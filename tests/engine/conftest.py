"""Handlers of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import steps_for_tests  # noqa: F401 – registers them
from tests.testapp.models import Note


@pytest.fixture
def broken_items(register: Callable[..., Any]) -> set[int]:
    """Return the values at which the step ``tests.work`` fails; it notes each call."""
    values: set[int] = set()

    @register("tests.work")
    def work(value: int) -> int:
        Note.objects.create(text=str(value))
        if value in values:
            raise ValueError(f"no {value}")
        return value * 10

    return values
