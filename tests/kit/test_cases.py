"""The test kit in Django's own test cases, and as a fixture of pytest."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.test import TestCase, TransactionTestCase

from django_workflow import LeaseLost, define, pytest_plugin
from django_workflow.engine.leases import Lease
from django_workflow.test import workflow_test as open_kit

# As pytest finds it where the distribution is installed with its entry points.
workflow_test = pytest_plugin.workflow_test
ROOT = Path(__file__).parent.parent.parent
STEPS = [
    {"name": "wait", "type": "flow.sleep", "with": {"for": "2d"}},
    {"name": "remind", "type": "mail.send", "with": {"to": "{{ email }}", "body": "Still there?"}},
]


class _Reminder:
    """What both test cases show."""

    def test_a_reminder_comes_after_two_days(self) -> None:
        define("reminder", steps=STEPS)
        with open_kit() as test:
            run = test.trigger("reminder", {"email": "a@example.com"})
            assert mail.outbox == []
            test.advance(days=2)
            assert test.path(run) == ["wait", "remind"]
        assert [message.to for message in mail.outbox] == [["a@example.com"]]


class InTestCase(_Reminder, TestCase):
    pass


class InTransactionTestCase(_Reminder, TransactionTestCase):
    pass


def test_the_fixture_is_the_kit(workflow_test: Callable[..., Any]) -> None:
    define("reminder", steps=STEPS)
    with workflow_test(outputs={"remind": {"sent": 1}}) as test:
        run = test.trigger("reminder", {"email": "a@example.com"})
        test.advance()
    assert (run.output_of("remind"), mail.outbox) == ({"sent": 1}, [])


@pytest.mark.django_db
def test_a_handler_may_stand_in_a_debugger_for_longer_than_a_lease() -> None:
    long_ago = time.monotonic() - 1000
    names = {"run_id": uuid4(), "step_run_id": uuid4(), "token": uuid4()}
    lease = Lease(using="default", queue="", renewed=long_ago, **names)
    with open_kit():
        lease.begin(None)
    assert not lease.is_lost
    with pytest.raises(LeaseLost):
        lease.begin(None)


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert hasattr(import_module(module), "workflow_test")


def test_the_plugin_needs_no_settings() -> None:
    code = "import os; os.environ.pop('DJANGO_SETTINGS_MODULE', None); import django_workflow.pytest_plugin"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
