"""What the tests of the flow between steps, runs and people share."""

from __future__ import annotations

from tests.support import steps_for_tests  # noqa: F401 – registers them
