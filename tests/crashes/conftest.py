"""The step types of these tests."""

from __future__ import annotations

from tests.support import steps_for_tests  # noqa: F401 – registers them
