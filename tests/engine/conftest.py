"""Handlers for one test: ``register`` is ``@step``, undone when the test is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import registry, step
from tests.testapp.models import Note

from . import steps_for_tests  # noqa: F401 – registers them


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return ``step``; what it registers is forgotten after the test."""
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    monkeypatch.setattr(registry, "_aliases", dict(registry._aliases))
    return step


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
