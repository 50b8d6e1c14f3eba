"""What is shipped: the wheel holds all of the package and nothing else, and works away from the checkout."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import sysconfig
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that this is complete too."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    # uv_build looks for its own program on the path, and this environment need not be activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        build, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def list_package_files() -> set[str]:
    """Return the package's files as git knows them, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "django_workflow"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return {name for name in names if name and (ROOT / name).exists()}


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name for name in archive.namelist() if not name.endswith("/") and ".dist-info/" not in name
        }
    assert shipped == list_package_files()
    assert "django_workflow/py.typed" in shipped


def test_wheel_carries_name_and_licence(wheel: Path, metadata: Message) -> None:
    assert metadata["Name"] == "django-workflow-rq"
    assert metadata["License-Expression"] == "MIT"
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


def test_dependencies_have_no_upper_bounds(metadata: Message) -> None:
    requirements = [*metadata.get_all("Requires-Dist", []), metadata["Requires-Python"]]
    names = {text.partition(">")[0].lower() for text in requirements}
    assert {"django", "django-rq", "rq"} <= names
    assert [
        text for text in requirements if set("<~=!") & set(text.partition(";")[0].replace(">=", ""))
    ] == []


USE = """
import sys
sys.path[:0] = sys.argv[1:3]
import django
from django.conf import settings
apps = ["contenttypes", "auth", "sessions", "messages", "admin"]
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "django_workflow"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    SECRET_KEY="only-for-tests",
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
call_command("check")
call_command("migrate", verbosity=0)
call_command("makemigrations", "django_workflow", check_changes=True, dry_run=True, verbosity=0)
import django_workflow
sys.stdout.write(django_workflow.__file__)
"""


def test_app_works_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    paths = [str(tmp_path / "installed"), sysconfig.get_path("purelib")]
    # -S: no .pth files, one of which leads to the checkout. -I: neither this folder nor PYTHONPATH.
    command = [sys.executable, "-I", "-S", "-c", USE, *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(str(tmp_path / "installed" / "django_workflow" / "__init__.py"))
