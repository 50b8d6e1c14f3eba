"""What every test shares: which database it runs on, and how many examples Hypothesis tries."""

import os

import django
import hypothesis
import pytest
from django.conf import settings

# No deadline: the machines that run this are busy, and a slow example is no failure.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_report_header(config: pytest.Config) -> str:
    return f"workflow: Django {django.__version__} on {settings.VENDOR}"
