"""The tests' settings with a queue for each kind of worker."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, DJANGO_WORKFLOW, INSTALLED_APPS, RQ_QUEUES

from .contestant import FORKING, IDLE, SIMPLE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks"]
RQ_QUEUES = dict.fromkeys(("default", SIMPLE, FORKING, IDLE), RQ_QUEUES["default"])
DJANGO_WORKFLOW = {**DJANGO_WORKFLOW, "QUEUE": "default"}
# A SimpleWorker would else connect anew for each job, which takes PostgreSQL 5 ms.
DATABASES = {alias: {**options, "CONN_MAX_AGE": None} for alias, options in DATABASES.items()}
