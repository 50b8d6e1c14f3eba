"""What the list of runs costs beside 500,000 of them, in milliseconds: ours, and a stock ``ModelAdmin``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path

from django_workflow import define
from django_workflow.models import Run, Workflow

RUNS = 500_000
WORKFLOWS = 20
# One run of a hundred has failed.
FAILED = 100
OURS, STOCK = "/ours/django_workflow/run/", "/stock/django_workflow/run/"
VIEWS = {
    "all": ("", ""),
    "failed": ("?state=failed", "?status__exact=failed"),
    "failed, of one workflow": (
        "?state=unresolved&workflow=shop-3",
        "?status__exact=failed&workflow__name=shop-3",
    ),
    "by key": ("?q=key-4321", "?q=key-4321"),
    "page 100": ("?p=100", "?p=100"),
}


class StockAdmin(admin.ModelAdmin):
    """What a project would write for such a table."""

    list_display = ("id", "workflow", "status", "key", "source", "created_at", "finished_at")
    list_filter = ("status", "workflow", "created_at")
    list_select_related = ("workflow",)
    search_fields = ("key__startswith",)
    list_per_page = 50

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return True


stock = admin.AdminSite("stock")
stock.register(Run, StockAdmin)
urlpatterns = [path("ours/", admin.site.urls), path("stock/", stock.urls)]


@override_settings(ROOT_URLCONF=__name__)
def measure(rounds: int) -> dict[str, float]:
    """Return the milliseconds of each view of the list, ours and the stock admin's in turn."""
    _insert()
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    figures = {}
    for name, (ours, theirs) in VIEWS.items():
        pair = {f"{name}, stock": STOCK + theirs, f"{name}, ours": OURS + ours}
        times = {each: _time(lambda url=url: _get(client, url), rounds) for each, url in pair.items()}
        figures |= times
    return figures


def _get(client: Client, url: str) -> None:
    response = client.get(url)
    if response.status_code != 200:
        raise RuntimeError(f"{url} answered {response.status_code}")


def _time(act: Callable[[], None], rounds: int) -> float:
    act()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        act()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def _insert() -> None:
    """Insert the runs, with ids in the order of time, and a step run for each; PostgreSQL only."""
    for number in range(WORKFLOWS):
        define(f"shop-{number}", steps=[{"name": "echo", "type": "flow.set", "with": {"a": number}}])
    pairs = Workflow.objects.filter(name__startswith="shop-").order_by("pk").values_list("pk", "published_id")
    workflows, versions = zip(*pairs, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            _RUNS, {"workflows": list(workflows), "versions": list(versions), "failed": FAILED, "runs": RUNS}
        )
        cursor.execute(_STEP_RUNS)
        cursor.execute("ANALYZE")


_RUNS = """
INSERT INTO django_workflow_run (
    id, workflow_id, version_id, status, ending, revision, state, input, key, step, error, error_type,
    depth, subject_type, subject_id, source, created_at, started_at, finished_at
)
SELECT ('0190' || lpad(to_hex(i / 65536), 4, '0') || '-' || lpad(to_hex(i %% 65536), 4, '0')
        || '-7000-8000-000000000000')::uuid,
    (%(workflows)s::bigint[])[1 + i %% array_length(%(workflows)s::bigint[], 1)],
    (%(versions)s::uuid[])[1 + i %% array_length(%(versions)s::uuid[], 1)],
    CASE WHEN i %% %(failed)s = 0 THEN 'failed' ELSE 'done' END, '', 2, '{"a": 1}', '{}',
    'key-' || i, 'echo', CASE WHEN i %% %(failed)s = 0 THEN 'no luck' ELSE '' END,
    CASE WHEN i %% %(failed)s = 0 THEN 'ValueError' ELSE '' END, 0, '', '', 'code',
    now() - (%(runs)s - i) * interval '1 second', now() - (%(runs)s - i) * interval '1 second',
    now() - (%(runs)s - i) * interval '1 second' + interval '20 ms'
FROM generate_series(1, %(runs)s) AS i
"""
_STEP_RUNS = """
INSERT INTO django_workflow_steprun (
    id, run_id, step, visit, index, attempt, counted_from, postponed, began, current, status, waiting_for,
    queue, solo, error, error_type, handled, traceback, worker, job_id, crashes, created_at, started_at,
    finished_at
)
SELECT id, id, 'echo', 1, -1, 1, 1, 0, 0, true, status, '', 'default', true, error, error_type, false, '', '',
    '', 0, created_at, started_at, finished_at
FROM django_workflow_run
"""
