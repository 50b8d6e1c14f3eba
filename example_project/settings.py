"""Settings of the example shop: SQLite, steps run inline, mail goes to files.

Environment variables: EXAMPLE_VAR moves its data elsewhere. EXAMPLE_REDIS, the unix socket of a Redis, brings
workers: steps then run on a queue, with data of their own. EXAMPLE_LEASE and EXAMPLE_GATEWAY_SECONDS are for
`make demo-rq`, where a crash shall not take a minute to mend, and a payment takes its time.
"""

import os
from pathlib import Path

import django

FOLDER = Path(__file__).resolve().parent
VAR = Path(os.environ.get("EXAMPLE_VAR", FOLDER / "var"))
REDIS = os.environ.get("EXAMPLE_REDIS")
if REDIS:
    VAR = VAR / "rq"
VAR.mkdir(parents=True, exist_ok=True)

DEBUG = True
SECRET_KEY = "only-for-the-example"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_workflow",
    "example_project.shop",
]

# Where the links in mails lead: a mail is written by a worker, which has no request to ask.
BASE_URL = "http://127.0.0.1:8000"
DJANGO_WORKFLOW = {"BASE_URL": BASE_URL}

if REDIS:
    INSTALLED_APPS += ["django_rq"]
    RQ_QUEUES = {
        "default": {"UNIX_SOCKET_PATH": REDIS, "DB": 0},
        "workflows": {"UNIX_SOCKET_PATH": REDIS, "DB": 0},
    }
    DJANGO_WORKFLOW |= {"QUEUE": "workflows", "LEASE": os.environ.get("EXAMPLE_LEASE", "60s")}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
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

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "shop.sqlite3",
        # As the README recommends: readers do not wait for a writer, and writers wait for each other.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

ROOT_URLCONF = "example_project.urls"
STATIC_URL = "/static/"
MEDIA_ROOT = VAR / "media"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "products"

MAIL_FOLDER = VAR / "mail"
_MAIL = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):  # where MAILERS replaces EMAIL_BACKEND
    MAILERS = {"default": {"BACKEND": _MAIL, "OPTIONS": {"file_path": MAIL_FOLDER}}}
else:
    EMAIL_BACKEND = _MAIL
    EMAIL_FILE_PATH = MAIL_FOLDER
DEFAULT_FROM_EMAIL = "Example shop <shop@example.com>"

# Where the pretended payment provider remembers what it was asked, and how long it takes to answer.
GATEWAY_FOLDER = VAR / "gateway"
GATEWAY_SECONDS = float(os.environ.get("EXAMPLE_GATEWAY_SECONDS", "0"))

# Without a Redis steps run inline here on purpose, also in tests, where DEBUG is off.
SILENCED_SYSTEM_CHECKS = ["django_workflow.W001"]

USE_TZ = True
TIME_ZONE = "UTC"
