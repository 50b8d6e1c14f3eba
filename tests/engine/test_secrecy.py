"""A secret that a handler lets slip into its error or its log lines is in no row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from django_workflow import Secret, StepContext
from tests.support.runs import start, step_run

pytestmark = pytest.mark.django_db(transaction=True)

SECRETS = {"bank": lambda: "sk_live_123", "short": "no"}


@override_settings(DJANGO_WORKFLOW={"QUEUE": None, "SECRETS": SECRETS})
@pytest.mark.parametrize("fails", [True, False])
def test_a_secret_is_starred_in_what_is_kept_for_people(register: Callable[..., Any], fails: bool) -> None:
    @register("tests.leaky")
    def leaky(context: StepContext, key: Secret, other: Secret = "short") -> str:
        context.log("asked with", key)
        if fails:
            raise ValueError(f"https://bank.example/?key={key} said {other}")
        return "kept"

    run = start([{"name": "ask", "type": "tests.leaky", "with": {"key": "bank"}}])
    row = step_run(run, "ask")
    for text in (row.error, row.traceback, run.error, str(row.logs)):
        assert "sk_live_123" not in text
    assert "********" in str(row.logs)
    assert (row.params, row.output) == ({"key": "bank"}, None if fails else "kept")
    if fails:
        assert row.error == "https://bank.example/?key=******** said no"
