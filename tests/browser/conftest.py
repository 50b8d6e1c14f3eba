"""A Chromium for all tests, a window for each, and people with just the permissions that a test names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

# Playwright runs an event loop in this thread, from which Django would else refuse to be called.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

import pytest
from django.contrib.auth.models import Permission, User

from tests.support.missing import skip_where_missing

from .chromium import find_chromium

if TYPE_CHECKING:
    from .visitor import Visitor

ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE, DESK = 390, 1280
OpenWindow = Callable[..., Any]
MakeUser = Callable[..., User]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium that all tests share."""
    from playwright.sync_api import sync_playwright

    with skip_where_missing():
        found = find_chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_window(browser: Any, live_server: Any, transactional_db: None) -> Iterator[OpenWindow]:
    """Return what opens a window: ``open_window(user, has_script=False)``."""
    from .visitor import Visitor

    with ExitStack() as stack:

        def open_one(
            user: User | None = None,
            *,
            has_script: bool = True,
            has_motion: bool = False,
        ) -> Visitor:
            context = browser.new_context(
                java_script_enabled=has_script,
                reduced_motion="no-preference" if has_motion else "reduce",
                locale="en-US",
                timezone_id="UTC",
            )
            stack.callback(context.close)
            context.set_default_timeout(15_000)
            visitor = Visitor(page=context.new_page(), address=live_server.url)
            if user is not None:
                visitor.log_in(user)
            return visitor

        yield open_one


@pytest.fixture
def make_user(transactional_db: None) -> MakeUser:
    """Return what makes a member of staff with the named permissions of the app; none named: a superuser."""

    def make(*permissions: str, name: str = "operator") -> User:
        if not permissions:
            return User.objects.create_superuser(name, f"{name}@example.com")
        user = User.objects.create_user(name, f"{name}@example.com", is_staff=True)
        for permission in permissions:
            app, _, codename = permission.rpartition(".")
            labels = {"content_type__app_label": app or "django_workflow", "codename": codename}
            user.user_permissions.add(Permission.objects.get(**labels))
        return user

    return make


@pytest.fixture(autouse=True)
def nothing_mended() -> Iterator[None]:
    """Let the failing step type fail again after each test."""
    from tests.support.admin_step_types import MENDED

    yield
    MENDED.clear()
