"""The German texts are complete, and compiled."""

from __future__ import annotations

import ast
import gettext
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation

from tests.support.missing import missing

PACKAGE = Path(__file__).parent.parent.parent / "django_workflow"
CATALOGUE = Path("locale") / "de" / "LC_MESSAGES" / "django.po"

pytestmark = pytest.mark.one_database


def needs_gettext() -> None:
    """Skip where the tools of gettext are missing; with CI=true fail."""
    if shutil.which("msgfmt") and shutil.which("xgettext"):
        return
    missing("no gettext found (Debian: apt-get install gettext)")


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def messages(catalogue: Path) -> set[str]:
    """Return the messages of a catalogue, whatever is said of them."""
    listed = run("msgattrib", "--no-location", "--no-wrap", "--no-obsolete", str(catalogue), cwd=PACKAGE)
    return {line for line in listed.splitlines() if line.startswith(("msgid ", "msgid_plural ", "msgctxt "))}


def test_every_text_of_the_app_is_in_the_catalogue(tmp_path: Path) -> None:
    needs_gettext()
    copy = tmp_path / "django_workflow"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": ""}
    make = [sys.executable, "-m", "django", "makemessages", "-l", "de", "--no-location", "--no-obsolete"]
    subprocess.run(make, cwd=copy, env=environment, capture_output=True, check=True)
    assert messages(copy / CATALOGUE) - messages(PACKAGE / CATALOGUE) == set()


def test_no_text_is_inside_an_f_string() -> None:
    """makemessages does not look there."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for outer in ast.walk(ast.parse(path.read_text()))
        if isinstance(outer, ast.JoinedStr)
        for node in ast.walk(outer)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"_", "gettext", "ngettext"}
    ]
    assert found == []


def test_every_text_is_translated_and_keeps_its_placeholders(tmp_path: Path) -> None:
    needs_gettext()
    said = run(
        "msgfmt", "--check", "--statistics", "-o", str(tmp_path / "de.mo"), str(CATALOGUE), cwd=PACKAGE
    )
    assert "untranslated" not in said
    assert "fuzzy" not in said


def test_what_is_compiled_is_the_catalogue(tmp_path: Path) -> None:
    needs_gettext()
    compiled = tmp_path / "de.mo"
    run("msgfmt", "-o", str(compiled), str(CATALOGUE), cwd=PACKAGE)
    with compiled.open("rb") as new, (PACKAGE / CATALOGUE).with_suffix(".mo").open("rb") as shipped:
        assert gettext.GNUTranslations(new)._catalog == gettext.GNUTranslations(shipped)._catalog  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_the_pages_speak_german(admin_client: Client) -> None:
    with translation.override("en"):
        text = admin_client.get("/admin/django_workflow/failure/", headers={"Accept-Language": "de"}).text
    assert "Fehlschläge" in text
    with translation.override("de"):
        assert translation.gettext("cancelled") == "abgebrochen"
