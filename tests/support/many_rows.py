"""100,000 runs with a step run each, inserted by PostgreSQL itself in a second or two.

A run a minute, the last one now. Of a thousand, ten have failed, one is cancelled, one waits for an approval,
one for a timer, one is paused, and of two a step failed though they are done. What is called rare is ten of
all.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from django_workflow.models import Workflow

RUNS = 100_000
# In milliseconds since 1970.
FIRST, MINUTE = 0x019000000000, 60_000


def id_of(number: int) -> UUID:
    """Return the id of a run, and of its step run; they are counted from 1."""
    return UUID(f"{FIRST + number * MINUTE:012x}70008000{number:012x}")


def insert() -> None:
    """Insert them for the published workflows ``big`` and ``small``, which has ten, and let it be known."""
    found = Workflow.objects.filter(name__in=("big", "small")).values_list("name", "pk", "published_id")
    values = {"runs": RUNS, "first": FIRST, "minute": MINUTE}
    for name, workflow, version in found:
        values |= {f"{name}_id": workflow, f"{name}_version": version}
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, values)
        cursor.execute(_STEP_RUNS)
        cursor.execute("ANALYZE django_workflow_run; ANALYZE django_workflow_steprun")


def delete() -> None:
    """Delete all runs. No row is left for a later test to pass over, as it is after DELETE."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE django_workflow_run CASCADE")


_RUNS = """
INSERT INTO django_workflow_run (
    id, workflow_id, version_id, status, ending, revision, state, input, key, step, error, error_type,
    depth, subject_type, subject_id, source, created_at, started_at, finished_at
)
SELECT
    (lpad(to_hex(%(first)s + i * %(minute)s::bigint), 12, '0') || '70008000'
     || lpad(to_hex(i), 12, '0'))::uuid,
    CASE WHEN is_rare THEN %(small_id)s ELSE %(big_id)s END,
    CASE WHEN is_rare THEN %(small_version)s::uuid ELSE %(big_version)s::uuid END,
    status, '', 2, '{"a": 1}', '{}', 'key-' || i,
    CASE WHEN is_rare THEN 'rare' WHEN i %% 20000 = 100 THEN 'late'
         ELSE (ARRAY['charge', 'pay', 'ship', 'tell'])[1 + i / 100 %% 4] END,
    CASE WHEN status = 'failed' THEN 'no luck' ELSE '' END,
    CASE WHEN status <> 'failed' THEN '' WHEN is_rare THEN 'shop.errors.Rare'
         WHEN i %% 20000 = 100 THEN 'django_workflow.exceptions.RunTimeout'
         WHEN i %% 200 = 0 THEN 'shop.errors.Declined' ELSE 'ValueError' END,
    0, CASE WHEN i %% 100 = 1 THEN 'shop.order' ELSE '' END, CASE WHEN i %% 100 = 1 THEN i::text ELSE '' END,
    'code', at, at, CASE WHEN status IN ('done', 'failed', 'cancelled') THEN at + interval '20 ms' END
FROM (
    SELECT i, now() - (%(runs)s - i) * interval '1 minute' AS at, i %% 10000 = 0 AS is_rare,
        CASE WHEN i %% 100 = 0 THEN 'failed' WHEN i %% 1000 = 11 THEN 'cancelled'
             WHEN i %% 1000 IN (22, 33) THEN 'waiting' WHEN i %% 1000 = 44 THEN 'paused' ELSE 'done' END
            AS status
    FROM generate_series(1, %(runs)s) AS i
) AS run
"""
_STEP_RUNS = """
INSERT INTO django_workflow_steprun (
    id, run_id, step, visit, index, attempt, counted_from, postponed, began, number, current, status,
    waiting_for, awaits, due_at, queue, solo, error, error_type, handled, traceback, worker, job_id, crashes,
    created_at, started_at, finished_at
)
SELECT id, id, CASE WHEN is_passed AND i % 25000 = 55 THEN 'rare' ELSE step END, 1, -1, 1, 1, 0, 0, 1, true,
    status, waiting_for,
    CASE WHEN waiting_for = 'approval' THEN
        '{"permission": "shop.approve", "group": null, "users": {}, "allow_self": true, "askers": {},
          "count": 1, "form": null, "message": ""}'::jsonb END,
    CASE WHEN waiting_for = 'timer' OR status = 'pending' THEN now() + interval '1 day' END,
    'default', true, error, error_type, is_passed, '', '', '', 0, created_at, started_at,
    CASE WHEN status IN ('done', 'failed', 'cancelled', 'skipped') THEN created_at END
FROM (
    SELECT id, i, created_at, started_at, is_passed, step,
        CASE WHEN is_passed THEN 'failed' WHEN run.status = 'paused' THEN 'pending'
             WHEN step = 'late' THEN 'cancelled' ELSE run.status END AS status,
        CASE WHEN run.status <> 'waiting' THEN '' WHEN i % 1000 = 22 THEN 'approval' ELSE 'timer' END
            AS waiting_for,
        CASE WHEN is_passed THEN 'no luck' ELSE error END AS error,
        CASE WHEN is_passed THEN 'ValueError' ELSE error_type END AS error_type
    FROM (SELECT *, substr(key, 5)::int AS i, substr(key, 5)::int % 500 = 55 AS is_passed
          FROM django_workflow_run) AS run
) AS run
"""
