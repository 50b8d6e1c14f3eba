"""Thousands of failed runs are retried from the filtered list; a worker is killed, and pages are looked at.

``WORKFLOW_TEST_FAILED`` says how many (default: 100; the long form: 10,000).
"""

from __future__ import annotations

import os
import statistics
import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_workflow import define
from django_workflow.models import BulkAction, Run, RunAction, StepRun, Workflow
from tests.support.processes import Processes, wait_until

pytestmark = [
    pytest.mark.usefixtures("queued"),
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

FAILED = int(os.environ.get("WORKFLOW_TEST_FAILED", "100"))
LIST = "/admin/django_workflow/run/"
QUERY = "state=unresolved&workflow=shop&error=OSError&since=24h"
# A page beside workers under full load, as a multiple of the same page while nothing goes on.
MOST = 25


def insert_failed(count: int, workflow: Workflow, error: str) -> None:
    """Insert runs that have failed at their only step, by what is mended now."""
    now = timezone.now() - timedelta(minutes=5)
    own = {"status": "failed", "error": "no luck", "error_type": error, "created_at": now}
    own |= {"started_at": now, "finished_at": now}
    for start in range(0, count, 1000):
        some = range(min(1000, count - start))
        place = {
            "workflow": workflow,
            "version_id": workflow.published_id,
            "step": "work",
            "ending": "failed",
        }
        runs = [Run(**place, **own, revision=2) for _ in some]
        Run.objects.bulk_create(runs)
        rows = [StepRun(run=run, step="work", queue="default", number=2, **own) for run in runs]
        StepRun.objects.bulk_create(rows)


def look(client: Client, url: str) -> float:
    """Return how long a page took, in seconds."""
    begun = time.perf_counter()
    assert client.get(url).status_code == 200
    return time.perf_counter() - begun


def test_a_bulk_retry_of_thousands_from_the_list(processes: Processes, client: Client) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time")
    workflow = define("shop", steps=[{"name": "work", "type": "testapp.count_idempotently"}])
    workflow.refresh_from_db()
    insert_failed(FAILED, workflow, "OSError")
    insert_failed(7, workflow, "ValueError")
    client.force_login(User.objects.create_superuser("operator"))
    url = f"{LIST}?{QUERY}"
    idle = statistics.median(look(client, url) for _ in range(5))

    page = client.get(f"{LIST}bulk/retry/?{QUERY}")
    assert f"{FAILED:,} runs" in page.text
    response = client.post(f"{LIST}bulk/retry/?{QUERY}", {"note": "mended", **page.context["hidden"]})
    bulk = BulkAction.objects.get()
    assert (bulk.total, bulk.finished_at) == (FAILED, None)

    worker = processes.worker()
    processes.clock()
    wait_until(lambda: BulkAction.objects.get().done > FAILED // 20, 120)
    worker.kill()
    processes.worker()
    processes.worker()
    times = []

    def is_finished() -> bool:
        times.append(look(client, url))
        assert client.get(response.headers["Location"]).status_code == 200
        time.sleep(2)
        return BulkAction.objects.get().finished_at is not None

    wait_until(is_finished, 1800)
    assert BulkAction.objects.get().done == FAILED
    assert RunAction.objects.filter(verb="retry").values("run").distinct().count() == FAILED
    wait_until(lambda: not Run.objects.filter(error_type="OSError").exists(), 300)
    assert Run.objects.filter(status="done").count() == FAILED
    assert Run.objects.filter(status="failed", error_type="ValueError").count() == 7
    assert statistics.median(times) < idle * MOST
