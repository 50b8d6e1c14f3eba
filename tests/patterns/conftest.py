"""What the tests of the patterns share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_workflow.test import Kit, workflow_test
from tests.support import steps_for_tests  # noqa: F401 – registers them


@pytest.fixture
def kit(db: None) -> Iterator[Kit]:
    with workflow_test() as test:
        yield test
