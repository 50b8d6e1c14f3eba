"""What pytest gets: the fixture ``workflow_test``.

pytest imports this module at its start, when no settings are there yet: nothing here may need them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import pytest


@pytest.fixture
def workflow_test(db: None) -> Callable[..., AbstractContextManager[Any]]:
    """Return ``django_workflow.test.workflow_test``, in a test that may use the database::

    def test_welcome(workflow_test):
        with workflow_test(outputs={"greet": None}) as test:
            assert test.trigger("welcome").status == "done"
    """
    kit: Callable[..., AbstractContextManager[Any]] = import_module("django_workflow.test").workflow_test
    return kit
