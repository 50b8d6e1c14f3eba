"""What the tests of the flow between steps, runs and people share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import steps_for_tests  # noqa: F401 – registers them


@pytest.fixture
def broken(register: Callable[..., Any]) -> set[int]:
    """Return a set: while it holds something, the step ``tests.may_fail`` fails."""
    values: set[int] = set()

    @register("tests.may_fail")
    def may_fail() -> str:
        if values:
            raise ValueError("broken")
        return "worked"

    return values
