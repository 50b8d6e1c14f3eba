"""Shipped files become rows: once, by one owner, and only where something changed."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.state import ProjectState
from django.test.utils import CaptureQueriesContext

from django_workflow import define, trigger
from django_workflow.engine import publish
from django_workflow.engine.files import read_shipped_files
from django_workflow.engine.sync import Verdict, give_back, preview, sync, sync_after_migrate
from django_workflow.models import ManagedBy, Workflow

from .conftest import Manage, Ship

pytestmark = pytest.mark.django_db

HELLO = "name: hello\nsteps:\n  - {type: flow.set, with: {greeting: hi}}\n"
OTHER = HELLO.replace("hi}", "good evening}")
BROKEN = "name: broken\nsteps:\n  - {type: nobody.knows}\n"


def sync_verdicts(**options: Any) -> dict[str, str]:
    return {each.name: each.verdict for each in sync("default", **options)}


def greeting(name: str = "hello") -> Any:
    run = trigger(name)
    published = Workflow.objects.get(name=name).published
    assert published is not None
    assert run.version_id == published.pk
    return published.spec["steps"][0]["with"]["greeting"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("hello.yaml", HELLO),
        ("hello.yml", HELLO),
        ("hello.json", json.dumps({"name": "hello", "steps": [{"type": "flow.end"}]})),
        ("marked.yaml", "\ufeff" + HELLO),
    ],
)
def test_a_file_becomes_a_published_workflow(ship: Ship, file: str, text: str) -> None:
    ship(file, text)
    (synced,) = sync("default")
    assert (synced.verdict, synced.note) == (Verdict.CREATED, "version 1")
    workflow = Workflow.objects.get(name="hello")
    assert (workflow.managed_by, workflow.source) == (ManagedBy.FILE, f"testapp/workflows/{file}")
    assert workflow.published is not None
    assert workflow.enabled


def test_other_files_are_left_alone(ship: Ship) -> None:
    ship("README.md", "# Not a workflow")
    ship("hello.yaml~", HELLO)
    assert read_shipped_files() == []


def test_an_unchanged_sync_costs_one_query(ship: Ship) -> None:
    for number in range(5):
        ship(f"{number}.yaml", HELLO.replace("hello", f"hello-{number}"))
    sync("default")
    with CaptureQueriesContext(connection) as queries:
        assert set(sync_verdicts().values()) == {Verdict.UNCHANGED}
    assert len(queries) == 1


def test_a_changed_file_makes_a_new_version(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", OTHER)
    (synced,) = sync("default")
    assert (synced.verdict, synced.note) == (Verdict.UPDATED, "version 2")
    assert greeting() == "good evening"


def test_a_file_that_says_the_same_otherwise_makes_no_version(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", "# A comment.\n" + HELLO.replace("type:", "name: flow_set, type:"))
    assert sync_verdicts() == {"hello": Verdict.UNCHANGED}
    with CaptureQueriesContext(connection) as queries:
        sync("default")
    assert len(queries) == 1


def test_what_staff_took_over_keeps_their_steps(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    workflow = Workflow.objects.get(name="hello")
    publish.hand_to_staff(workflow, using="default")
    workflow.steps.update(params={"greeting": "from staff"})
    publish.publish(workflow, using="default")
    ship("hello.yaml", OTHER)
    assert sync_verdicts() == {"hello": Verdict.LEFT}
    assert greeting() == "from staff"


def test_taking_back_gives_the_workflow_to_its_file(ship: Ship) -> None:
    test_what_staff_took_over_keeps_their_steps(ship)
    give_back("hello", "default")
    assert sync_verdicts() == {"hello": Verdict.UPDATED}
    assert greeting() == "good evening"
    assert Workflow.objects.get(name="hello").managed_by == ManagedBy.FILE


def test_taking_back_drops_what_staff_had_not_published(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    workflow = Workflow.objects.get(name="hello")
    publish.hand_to_staff(workflow, using="default")
    workflow.steps.update(params={"greeting": "a draft"})
    give_back("hello", "default")
    sync("default")
    assert workflow.steps.get().params == {"greeting": "hi"}


def test_an_editable_file_belongs_to_staff_from_the_start(ship: Ship) -> None:
    ship("hello.yaml", HELLO + "editable: true\n")
    assert sync_verdicts() == {"hello": Verdict.CREATED}
    workflow = Workflow.objects.get(name="hello")
    assert workflow.managed_by == ManagedBy.STAFF
    assert workflow.published is not None
    ship("hello.yaml", OTHER + "editable: true\n")
    assert sync_verdicts() == {"hello": Verdict.LEFT}
    assert greeting() == "hi"


def test_enabled_counts_at_creation_only(ship: Ship) -> None:
    ship("hello.yaml", HELLO + "enabled: false\n")
    (created,) = sync("default")
    assert created.note == "version 1; it is switched off"
    Workflow.objects.update(enabled=True)
    ship("hello.yaml", OTHER + "enabled: false\n")
    sync("default")
    assert Workflow.objects.get(name="hello").enabled


def test_what_code_defines_is_not_taken_by_a_file(ship: Ship) -> None:
    define("hello", steps=[{"type": "flow.set", "with": {"greeting": "from code"}}])
    ship("hello.yaml", HELLO)
    (synced,) = sync("default")
    assert synced.verdict == Verdict.REFUSED
    assert "define()" in synced.note
    assert greeting() == "from code"


def test_two_files_with_one_name_are_both_refused(ship: Ship) -> None:
    ship("a.yaml", HELLO)
    ship("b.yaml", OTHER)
    synced = sync("default")
    assert [each.verdict for each in synced] == [Verdict.REFUSED] * 2
    assert all("testapp/workflows/a.yaml, testapp/workflows/b.yaml" in each.note for each in synced)
    assert not Workflow.objects.exists()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (BROKEN, "unknown step type 'nobody.knows'"),
        ("name: [", "line "),
        ("- a\n- list\n", "a mapping with name and steps is needed"),
        ("", "a mapping with name and steps is needed"),
        (HELLO + "enabled: perhaps\n", "enabled: true or false is needed"),
        (HELLO.replace("name: hello\n", ""), "a name is needed"),
    ],
)
def test_a_broken_file_is_refused_and_the_others_go_on(ship: Ship, text: str, note: str) -> None:
    ship("a.yaml", text)
    ship("b.yaml", HELLO.replace("hello", "good"))
    refused, good = sync("default")
    assert refused.verdict == Verdict.REFUSED
    assert note in refused.note
    assert good.verdict == Verdict.CREATED
    assert list(Workflow.objects.values_list("name", flat=True)) == ["good"]


def test_bytes_that_are_no_text_are_refused(ship: Ship) -> None:
    ship("a.yaml", "").write_bytes(b"name: \xff\xfe\n")
    (synced,) = sync("default")
    assert "cannot be read" in synced.note


def test_a_renamed_file_keeps_its_workflow(ship: Ship) -> None:
    ship("hello.yaml", HELLO).unlink()
    ship("old.yaml", HELLO)
    sync("default")
    ship("old.yaml", HELLO).rename(ship("new.yaml", ""))
    assert sync_verdicts() == {"hello": Verdict.UNCHANGED}
    assert Workflow.objects.get(name="hello").source == "testapp/workflows/new.yaml"


def test_a_name_is_not_taken_from_a_file_that_cannot_be_read(ship: Ship) -> None:
    ship("a.yaml", HELLO)
    sync("default")
    ship("a.yaml", "name: [")
    ship("b.yaml", OTHER)
    assert {each.source: each.verdict for each in sync("default")} == {
        "testapp/workflows/a.yaml": Verdict.REFUSED,
        "testapp/workflows/b.yaml": Verdict.REFUSED,
    }
    assert greeting() == "hi"


def test_a_workflow_whose_file_is_gone_is_only_switched_off_by_pruning(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", HELLO).unlink()
    assert sync_verdicts() == {"hello": Verdict.GONE}
    assert Workflow.objects.get(name="hello").enabled
    assert sync_verdicts(prune=True) == {"hello": Verdict.SWITCHED_OFF}
    assert not Workflow.objects.get(name="hello").enabled
    assert sync_verdicts(prune=True) == {}


def test_a_pruned_file_that_comes_back_switches_its_workflow_on(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", HELLO).unlink()
    sync("default", prune=True)
    ship("hello.yaml", HELLO)
    assert sync_verdicts() == {"hello": Verdict.UPDATED}
    assert Workflow.objects.get(name="hello").enabled
    assert sync_verdicts() == {"hello": Verdict.UNCHANGED}


def test_what_staff_switched_off_stays_off(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    Workflow.objects.update(enabled=False)
    ship("hello.yaml", OTHER)
    sync("default")
    assert not Workflow.objects.get(name="hello").enabled


def test_pruning_spares_what_others_own_and_files_that_cannot_be_read(ship: Ship) -> None:
    define("by-code", steps=[{"type": "flow.end"}])
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", "name: [")
    sync("default", prune=True)
    assert set(Workflow.objects.values_list("enabled", flat=True)) == {True}


def test_a_preview_writes_nothing_and_shows_the_difference(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    ship("hello.yaml", OTHER)
    ship("new.yaml", HELLO.replace("hello", "new"))
    changed, new = preview("default")
    assert (changed.verdict, new.verdict) == (Verdict.UPDATED, Verdict.CREATED)
    assert "-    with: {greeting: hi}" in changed.note
    assert "+    with: {greeting: good evening}" in changed.note
    assert Workflow.objects.count() == 1
    assert greeting() == "hi"


# The command ------------------------------------------------------------


def test_the_command_tells_of_each_workflow(ship: Ship, manage: Manage) -> None:
    ship("hello.yaml", HELLO)
    assert manage("sync_workflows").out == "hello: created (version 1)\n"
    assert manage("sync_workflows").out == "hello: unchanged\n"
    ship("hello.yaml", HELLO).unlink()
    assert "is gone; --prune switches it off" in manage("sync_workflows").out
    assert manage("sync_workflows", "--prune").out == "hello: switched off\n"


def test_check_exits_1_while_there_is_a_difference(ship: Ship, manage: Manage) -> None:
    ship("hello.yaml", HELLO)
    done = manage("sync_workflows", "--check")
    assert done.code == 1
    assert "hello: would be created\n--- database\n+++ testapp/workflows/hello.yaml\n" in done.out
    assert not Workflow.objects.exists()
    manage("sync_workflows")
    assert manage("sync_workflows", "--check").code == 0


def test_check_shows_what_staff_changed_and_calls_it_no_difference(ship: Ship, manage: Manage) -> None:
    test_what_staff_took_over_keeps_their_steps(ship)
    done = manage("sync_workflows", "--check")
    assert done.code == 0
    assert "hello: left to staff\n" in done.out
    assert "-    with: {greeting: from staff}" in done.out
    assert manage("sync_workflows", "--take-back", "hello").out == "hello: updated (version 3)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--take-back", "nobody"], 2, "no shipped file has a workflow named 'nobody'"),
        (["--take-back", "hello", "--check"], 2, "--check writes nothing"),
        ([], 1, "1 of the files cannot be synced"),
    ],
)
def test_the_command_refuses(ship: Ship, manage: Manage, arguments: list[str], code: int, text: str) -> None:
    ship("broken.yaml", BROKEN)
    done = manage("sync_workflows", *arguments)
    assert done.code == code
    assert text in done.err


def test_without_files_the_command_says_so(manage: Manage, ship: Ship) -> None:
    assert manage("sync_workflows").out == "No installed app ships a workflow file.\n"


# After migrate ------------------------------------------------------------


def test_migrate_syncs(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    call_command("migrate", verbosity=0)
    assert greeting() == "hi"


def test_migrate_says_what_it_published_and_nothing_where_nothing_changed(ship: Ship, manage: Manage) -> None:
    ship("hello.yaml", HELLO)
    line = "  Workflow hello: {} from testapp/workflows/hello.yaml, version {}\n"
    assert line.format("created", 1) in manage("migrate").out
    assert "hello" not in manage("migrate").out
    ship("hello.yaml", OTHER)
    assert manage("migrate", verbosity=0).out == ""
    ship("hello.yaml", HELLO)
    assert line.format("updated", 3) in manage("migrate").out


def test_a_broken_file_is_logged_and_breaks_no_migrate(ship: Ship, caplog: pytest.LogCaptureFixture) -> None:
    ship("broken.yaml", BROKEN)
    ship("hello.yaml", HELLO)
    with caplog.at_level(logging.ERROR, "django_workflow"):
        call_command("migrate", verbosity=0)
    assert "testapp/workflows/broken.yaml was not synced" in caplog.text
    assert greeting() == "hi"


def test_nothing_is_synced_where_the_tables_are_not_those_of_this_release(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    before = ProjectState().apps
    older = ProjectState.from_apps(apps)
    older.remove_field("django_workflow", "workflow", "digest")
    for state in (before, older.apps):
        with CaptureQueriesContext(connection) as queries:
            sync_after_migrate(using="default", apps=state)
        assert len(queries) == 0


def test_nothing_is_synced_to_a_database_that_the_router_keeps_free_of_it(ship: Ship, settings: Any) -> None:
    ship("hello.yaml", HELLO)
    settings.DATABASE_ROUTERS = ["tests.operations.test_sync.Nowhere"]
    sync_after_migrate(using="default")
    assert not Workflow.objects.exists()


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_workflow" else None


def test_without_files_a_flush_asks_the_database_nothing(ship: Ship) -> None:
    with CaptureQueriesContext(connection) as queries:
        sync_after_migrate(using="default")
    assert len(queries) == 0


def test_a_flushed_database_gets_the_workflows_again(ship: Ship) -> None:
    ship("hello.yaml", HELLO)
    sync("default")
    Workflow.objects.update(published=None)
    Workflow.objects.all().delete()
    # As flush sends it: without the state of the apps.
    sync_after_migrate(using="default", verbosity=0, interactive=False)
    assert greeting() == "hi"
