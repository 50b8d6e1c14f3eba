"""Users with just the permissions a test names, and runs that have run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import translation

from django_workflow import define, trigger
from django_workflow.models import Run, Workflow
from tests.support.admin_step_types import MENDED

Login = Callable[..., Client]
MakeRun = Callable[..., Run]


@pytest.fixture
def login(client: Client) -> Login:
    """Log in as a member of staff with the named permissions of the app."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        for permission in permissions:
            app, _, codename = permission.rpartition(".")
            found = Permission.objects.get(
                content_type__app_label=app or "django_workflow", codename=codename
            )
            user.user_permissions.add(found)
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def editor(login: Login) -> Client:
    """Log in as somebody who writes and publishes workflows."""
    return login("add_workflow", "change_workflow", "delete_workflow", "publish_workflow")


@pytest.fixture
def make_run(django_capture_on_commit_callbacks: Any) -> MakeRun:
    """Trigger a workflow, defined with the given steps, and let its run go as far as it can."""

    def make(*steps: dict[str, Any], name: str = "shop", input: dict[str, Any] | None = None) -> Run:
        define(name, steps=steps)
        with django_capture_on_commit_callbacks(execute=True):
            run = trigger(name, input)
        run.refresh_from_db()
        return run

    return make


@pytest.fixture
def draft() -> Workflow:
    """A draft that staff own, with two steps; never published."""
    workflow = Workflow.objects.create(name="shop", description="What the shop does")
    workflow.steps.create(
        position=0, name="first", type="admintest.echo", params={"value": {"b": 1, "a": "é"}}
    )
    workflow.steps.create(position=1, name="second", type="admintest.echo", condition="total > 1")
    return workflow


@pytest.fixture(autouse=True)
def nothing_mended() -> Any:
    """Let the failing step type fail again after each test, in the language of the settings."""
    yield
    MENDED.clear()
    # A request in German leaves its thread in German.
    translation.deactivate()
