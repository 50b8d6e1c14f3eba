"""Shipped files that last as long as one test."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from tests.support import steps_for_tests  # noqa: F401 – registers them

Ship = Callable[[str, str], Path]


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ship:
    """Return what writes a file to the test app's folder of workflows: ``ship(file name, text)``."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    monkeypatch.setattr(apps.get_app_config("testapp"), "path", str(tmp_path))

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


class Done:
    """What a command wrote, and its exit code as a shell would see it."""

    def __init__(self) -> None:
        self.stdout = StringIO()
        self.stderr = StringIO()
        self.code = 0

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()


Manage = Callable[..., Done]


@pytest.fixture
def manage() -> Manage:
    """Return what calls a management command: ``manage("show_run", run.pk)``."""

    def call(command: Any, *arguments: object, **options: Any) -> Done:
        done = Done()
        try:
            call_command(command, *map(str, arguments), stdout=done.stdout, stderr=done.stderr, **options)
        except CommandError as error:
            done.code = error.returncode
            done.stderr.write(f"{error}\n")
        except SystemExit as error:
            done.code = int(str(error.code or 0))
        return done

    return call
