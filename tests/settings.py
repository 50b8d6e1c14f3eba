"""Settings of the tests.

Environment variables: WORKFLOW_TEST_DATABASE is sqlite (default), postgres or mariadb; WORKFLOW_TEST_PGHOST
is a PostgreSQL that runs already; WORKFLOW_TEST_SETTINGS is DJANGO_WORKFLOW as JSON, for processes that a
test starts. Each worker of pytest-xdist has files, databases and a Redis of its own.
"""

import atexit
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path

import django

ALIASES = {"default": "workflow", "other": "workflow_other"}
VENDOR = os.environ.get("WORKFLOW_TEST_DATABASE", "sqlite")


def _choose_files() -> Path:
    """Return what the paths of this test run's files begin with; processes that a test starts find the same.

    Nothing is made here, because mypy reads the settings too and leaves without tidying up.
    """
    if "WORKFLOW_TEST_FILES" not in os.environ:
        # A socket is among them, and its path may have about 100 characters.
        crowded = len(tempfile.gettempdir()) > 60
        folder = Path("/tmp" if crowded else tempfile.gettempdir())
        files = folder / f"workflow-tests-{uuid.uuid4().hex[:12]}"
        os.environ["WORKFLOW_TEST_FILES"] = str(files)
        atexit.register(_remove_files, files, owner=os.getpid())
    # The processes that a worker of pytest-xdist starts inherit its name.
    own = (os.environ["WORKFLOW_TEST_FILES"], os.environ.get("PYTEST_XDIST_WORKER"))
    return Path("-".join(filter(None, own)))


def _remove_files(files: Path, *, owner: int) -> None:
    if os.getpid() != owner:  # a forked worker inherits the registration, not the files
        return
    for path in files.parent.glob(f"{files.name}-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _describe_sqlite(name: str) -> dict[str, object]:
    # A file, because threads and other processes do not share a database in memory.
    file = FILES.with_name(f"{FILES.name}-{name}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
        "TEST": {"NAME": file},
    }


def _describe_postgres(name: str) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "postgres",
        "HOST": os.environ.get("WORKFLOW_TEST_PGHOST") or f"{FILES}-postgres",
        "TEST": {"NAME": name},
    }


def _describe_mariadb(name: str) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": name,
        "USER": "root",
        "HOST": os.environ["WORKFLOW_TEST_MARIADB_SOCKET"],
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"NAME": name, "CHARSET": "utf8mb4"},
    }


if VENDOR == "mariadb":
    import pymysql

    pymysql.install_as_MySQLdb()

FILES = _choose_files()
_DESCRIBE = {"sqlite": _describe_sqlite, "postgres": _describe_postgres, "mariadb": _describe_mariadb}
# The test database is the database itself, so that a worker process started by a test sees its rows.
DATABASES = {alias: _DESCRIBE[VENDOR](name) for alias, name in ALIASES.items()}

REDIS_SOCKET = FILES.with_name(f"{FILES.name}-redis.sock")
RQ_QUEUES = {name: {"UNIX_SOCKET_PATH": str(REDIS_SOCKET), "DB": 0} for name in ("default", "slow", "other")}
# Inline, but for the tests of the queue, and the processes that they start.
DJANGO_WORKFLOW = json.loads(os.environ.get("WORKFLOW_TEST_SETTINGS", '{"QUEUE": null}'))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = "only-for-tests"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_rq",
    "django_workflow",
    "tests.testapp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
MEDIA_ROOT = FILES.with_name(f"{FILES.name}-media")
_MAIL = "django.core.mail.backends.locmem.EmailBackend"
if django.VERSION >= (6, 1):  # where EMAIL_BACKEND is deprecated, and older ones do not know MAILERS
    MAILERS = {"default": {"BACKEND": _MAIL}}
else:
    EMAIL_BACKEND = _MAIL
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
TIME_ZONE = "UTC"
