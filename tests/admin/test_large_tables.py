"""Beside 100,000 runs no page, filter, search or command reads a table: PostgreSQL counts the rows it visits.

What is asked for here is rare or missing, so that a walk through a table would come to its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, reset_queries
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow import define
from django_workflow.admin.run_list import FILTERS, STATES, WINDOWS
from django_workflow.engine.bulk import start_bulk
from django_workflow.engine.run_filters import RunFilters
from tests.support import databases, many_rows

# Lists are counted up to 10,000 rows, once by the page and once by its filter.
FEW = 25_000
_TABLES = re.compile("(SELECT|WITH|\\(SELECT) .*django_workflow_(run|steprun)\\b", re.DOTALL)

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the others do not say what they read"),
    # The page of health looks at all of them.
    pytest.mark.django_db(databases=["default", "other"]),
]


@pytest.fixture(scope="module", autouse=True)
def many_runs(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """100,000 runs of 70 days with a step run each, and what is rare among them."""
    with django_db_blocker.unblock():
        define("big", steps=[{"name": "charge", "type": "flow.set", "with": {"a": 1}}])
        define("small", steps=[{"name": "charge", "type": "flow.set", "with": {"a": 1}}])
        many_rows.insert()
        yield
        many_rows.delete()
        databases.empty(["default"])


def visited(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows the plan has read, by table; of an index, its entries."""
    found: dict[str, int] = {}
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    each = sum(plan.get(name, 0) for name in ("Actual Rows", *removed)) * plan["Actual Loops"]
    if name := plan.get("Relation Name", plan.get("Index Name")):
        found[name] = round(each)
    for part in plan.get("Plans", ()):
        for name, count in visited(part).items():
            found[name] = found.get(name, 0) + count
    return found


def find_wide_reads(acts: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Return the queries that read more than a few rows, with what they read of which table, by act."""
    found: dict[str, list[Any]] = {}
    for name, act in acts.items():
        reset_queries()
        with CaptureQueriesContext(connection) as queries:
            answer = act()
        assert getattr(answer, "status_code", 200) in (200, 302), name
        for sql in (query["sql"] for query in queries if _TABLES.match(query["sql"])):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + sql)
                [(plan,)] = cursor.fetchall()
            rows = visited(plan[0]["Plan"])
            if sum(rows.values()) > FEW:
                found.setdefault(name, []).append((sql, rows))
    return found


APP = "/admin/django_workflow/"
GIVEN = [
    *({"state": state} for state in STATES),
    *({name: window} for name in ("since", "ended") for window in WINDOWS),
    *({"workflow": name} for name in ("big", "small", "none")),
    *({"error": name} for name in ("ValueError", "Rare", "shop.errors.Rare", "None")),
    *({name: step} for name in ("step", "stopped_at") for step in ("charge", "rare", "late", "none")),
    *({"about": about} for about in ("shop.order:7", "shop.order:none")),
    *(
        {"q": text}
        for text in ("key-77", "none", "7", *(str(many_rows.id_of(500))[:length] for length in (8, 18, 36)))
    ),
    # What the page of failures links to.
    {"state": "unresolved", "workflow": "big", "error": "ValueError", "stopped_at": "charge", "ended": "7d"},
    {"state": "passed_over", "workflow": "big", "step": "rare", "ended": "24h"},
    {"state": "unresolved", "workflow": "small", "error": "shop.errors.Rare", "stopped_at": "rare"},
]


def test_every_filter_of_the_list_is_tried() -> None:
    assert {each.parameter_name for each in FILTERS} | {"q"} == {name for given in GIVEN for name in given}


PAGES = (
    "run/",
    *(f"run/?{urlencode(given)}" for given in GIVEN),
    *(f"run/?o={order}{column}" for column in range(1, 10) for order in ("", "-")),
    "run/?p=150",
    "run/?_facets=True",
    "run/bulk/",
    *(f"run/bulk/?{urlencode(given)}" for given in GIVEN),
    *(f"run/bulk/retry/?{urlencode(given)}" for given in GIVEN),
    *(f"run/bulk/{verb}/" for verb in ("cancel", "retry", "restart", "undo")),
    "steprun/",
    "steprun/?q=rare",
    "steprun/?_facets=True",
    *(f"steprun/?o={column}" for column in range(1, 10)),
    *(
        f"steprun/?run__id__exact={many_rows.id_of(500)}&{query}"
        for query in ("", "status__exact=failed", "waiting_for__exact=timer", "q=charge", "o=-6")
    ),
    "workflow/",
    "workflow/?q=small",
    "workflow/?enabled__exact=1&managed_by__exact=code",
    "workflowversion/",
    "bulkaction/",
    "approval/",
    "failure/",
    *(f"failure/?window={window}&order=most" for window in ("1h", "24h", "7d")),
    "health/",
    "steptype/",
)


def test_every_page_reads_few_rows(admin_client: Client) -> None:
    pages = {page: partial(admin_client.get, APP + page) for page in PAGES}
    assert find_wide_reads(pages) == {}


def test_the_inbox_of_somebody_who_may_answer_little_reads_few_rows(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert find_wide_reads({"inbox": partial(client.get, f"{APP}approval/")}) == {}


OPTIONS = (
    ["--workflow", "small"],
    *(["--status", status] for status in ("failed", "cancelled", "waiting", "paused", "running")),
    *(["--error", name] for name in ("ValueError", "Rare", "None")),
    ["--older-than", "60d"],
    ["--newer-than", "10m"],
    ["--key", "key-77"],
    ["--key", "none"],
    *(["--step", step] for step in ("rare", "none")),
)


def test_every_filter_of_a_command_reads_few_rows() -> None:
    silent: dict[str, Any] = {"stdout": StringIO(), "stderr": StringIO()}
    commands = {
        " ".join(options): partial(call_command, "workflow_runs", "list", *options, **silent)
        for options in ([], ["--status", "done"], *OPTIONS)
    }
    assert find_wide_reads(commands) == {}


def test_a_bulk_action_reads_few_rows_where_few_runs_fit() -> None:
    now = timezone.now()
    filters: list[dict[str, Any]] = [
        {"workflow": "small"},
        *({"error": name} for name in ("Rare", "None")),
        *({name: step} for name in ("step", "stopped_at") for step in ("rare", "none")),
        {"key": "key-77"},
        {"about": "shop.order:none"},
        {"created_before": now - timedelta(days=60)},
        {"created_after": now - timedelta(minutes=10)},
        {"finished_after": now - timedelta(minutes=10)},
    ]
    starts = {
        str(given): partial(start_bulk, "restart", RunFilters(**given), using="default") for given in filters
    }
    assert find_wide_reads(starts) == {}
