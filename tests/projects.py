"""Whole projects of their own, in a process of their own: for what settings decide at start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CONTRIB = ["django.contrib.contenttypes", "django.contrib.auth"]
SMALLEST: dict[str, Any] = {
    "INSTALLED_APPS": [*CONTRIB, "django_workflow"],
    "DATABASES": {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "db.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
    },
    "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    "DJANGO_WORKFLOW": {"QUEUE": None, "BASE_URL": "https://shop.example"},
    "SILENCED_SYSTEM_CHECKS": ["django_workflow.W001"],
    "ROOT_URLCONF": "project_urls",
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "SECRET_KEY": "only-for-tests",
    "USE_TZ": True,
}
_START = "import django; django.setup(); from django.core.management import call_command\n"


class Project:
    """A project in ``folder``, with the ``SMALLEST`` settings but for those given; modules can be added."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        mail = "'django.core.mail.backends.locmem.EmailBackend'"
        lines = [f"{name} = {value!r}\n" for name, value in {**SMALLEST, **settings}.items()]
        # Django 6.1 knows MAILERS, and deprecates EMAIL_BACKEND.
        lines.append("import django\n")
        lines.append(f"if django.VERSION < (6, 1): EMAIL_BACKEND = {mail}\n")
        lines.append(f"else: MAILERS = {{'default': {{'BACKEND': {mail}}}}}\n")
        self.write("project_settings.py", "".join(lines))
        include = "path('workflows/', include('django_workflow.urls'))"
        self.write("project_urls.py", f"from django.urls import include, path\nurlpatterns = [{include}]\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, code: str) -> str:
        """Run Python code in the project, and return what it prints; ``call_command`` is imported."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_TEST_")},
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            "PYTHONWARNINGS": "error",
            "DJANGO_SETTINGS_MODULE": "project_settings",
        }
        command = [sys.executable, "-c", _START + code]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
