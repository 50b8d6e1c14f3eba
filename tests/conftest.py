"""What every test shares: its database, how many examples Hypothesis tries, step types for one test."""

import os
from collections.abc import Callable
from typing import Any

import django
import hypothesis
import pytest
from django.conf import settings

from django_workflow import registry, step

# No deadline: the machines that run this are busy, and a slow example is no failure.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_report_header(config: pytest.Config) -> str:
    return f"workflow: Django {django.__version__} on {settings.VENDOR}"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return ``step``; what it registers is forgotten after the test."""
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    monkeypatch.setattr(registry, "_aliases", dict(registry._aliases))
    return step
