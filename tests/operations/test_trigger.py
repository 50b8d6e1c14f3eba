"""The commands that start, show, export and list: what they write, and how they exit."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.utils import timezone

from django_workflow import Retry, cancel_run, define, trigger
from django_workflow.definition.reading import read_definition
from django_workflow.engine.sync import sync
from django_workflow.management.commands import trigger_workflow
from django_workflow.management.following import Follower
from django_workflow.models import Run, Source, Workflow

from .conftest import Manage, Ship

pytestmark = pytest.mark.django_db(transaction=True)


class HurriedFollower(Follower):
    """Makes what waits due instead of waiting for it."""

    def pause(self, seconds: float) -> None:
        assert self.run is not None
        past = timezone.now() - timedelta(minutes=1)
        self.run.step_runs.live().filter(due_at__isnull=False).update(due_at=past)


def hurried() -> BaseCommand:
    command = trigger_workflow.Command()
    command.follower = HurriedFollower
    return command


def echo(*values: Any) -> None:
    define("echo", steps=[{"type": "tests.echo", "with": {"value": value}} for value in values])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--input", '{"a": [1, null]}'], {"a": [1, None]}),
        (["-"], {"from": "stdin"}),
        (["--wait", "-"], {"from": "stdin"}),
        (["-", "--key", "k"], {"from": "stdin"}),
        (["--input-file=-"], {"from": "stdin"}),
        (["--input-file", "-", "--wait"], {"from": "stdin"}),
        (["--input-file", "-"], {"from": "stdin"}),
        (["--input-file", "FILE"], {"from": "a file"}),
    ],
)
def test_the_input_comes_from_wherever_it_is(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: Any
) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"from": "a file"}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}'))
    echo("{{ run.id }}")
    done = manage("trigger_workflow", "echo", *(file if each == "FILE" else each for each in arguments))
    assert done.code == 0
    run = Run.objects.get()
    assert run.input == expected
    assert run.source == Source.COMMAND
    assert f"run {run.pk} of echo is done" in done.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nobody"], "no workflow named 'nobody'"),
        (["typed", "--input", "{"], "The input is no JSON: "),
        (["typed", "--input", "[1]"], "no JSON object"),
        (["typed", "--input", "{}", "-"], "Give the input once"),
        (["typed", "--input", "{}", "--input-file", "x"], "Give the input once"),
        (["typed", "--input-file", "x", "-"], "Give the input once"),
        (["typed", "--input", '{"number": "many"}'], "number"),
        (["typed"], "number: is required"),
        (["typed", "--input-file", "/nowhere/at/all"], "cannot be read"),
        (["typed", "--input", '{"number": 1}', "--key", ""], "1 to 255 characters"),
    ],
)
def test_bad_usage_exits_2_with_one_line(manage: Manage, arguments: list[str], text: str) -> None:
    define("typed", input={"number": "int"}, steps=[{"type": "tests.echo"}])
    done = manage("trigger_workflow", *arguments)
    assert done.code == 2
    assert text in done.err
    assert done.err.count("\n") == 1
    assert not Run.objects.exists()


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_a_failed_run_exits_1_and_says_why(manage: Manage, wait: list[str]) -> None:
    define("bad", steps=[{"type": "tests.fail", "with": {"message": "no paper"}}])
    done = manage("trigger_workflow", "bad", *wait)
    assert done.code == 1
    assert "is failed at step tests_fail: ValueError: no paper" in done.err


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_a_workflow_that_is_off_exits_1(manage: Manage, wait: list[str]) -> None:
    echo(1)
    Workflow.objects.update(enabled=False)
    done = manage("trigger_workflow", "echo", *wait)
    assert done.code == 1
    assert "switched off" in done.err


def test_waiting_shows_each_step_with_its_output_or_error(manage: Manage) -> None:
    define(
        "shown",
        steps=[
            {"name": "one", "type": "tests.echo", "with": {"value": {"paper": "A4"}}},
            {"name": "two", "type": "tests.fail", "on_error": "continue"},
            {"name": "three", "type": "tests.echo", "if": "False"},
        ],
    )
    done = manage("trigger_workflow", "shown", "--wait")
    one, two, three, end = done.out.splitlines()
    assert "one " in one
    assert "done" in one
    assert '{"paper": "A4"}' in one
    assert "failed" in two
    assert "ValueError: broken" in two
    assert "skipped" in three
    assert "is done" in end


def test_waiting_shows_steps_while_the_run_goes_on(manage: Manage, register: Callable[..., Any]) -> None:
    seen: list[str] = []
    command = trigger_workflow.Command()

    def look() -> None:
        seen.append(stdout.getvalue())

    register("tests.look")(look)
    define("shown", steps=[{"name": "early", "type": "tests.echo"}, {"name": "late", "type": "tests.look"}])
    stdout = io.StringIO()
    call_command(command, "shown", "--wait", stdout=stdout)
    assert "early" in seen[0]
    assert "late" not in seen[0]


def test_waiting_goes_through_retries_and_timers(manage: Manage, register: Callable[..., Any]) -> None:
    tries: list[int] = []

    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")

    register("tests.flaky", retry=Retry(attempts=3, delay=60))(flaky)
    define(
        "long", steps=[{"type": "flow.sleep", "with": {"for": "3d"}}, {"name": "try", "type": "tests.flaky"}]
    )
    done = manage(hurried(), "long", "--wait")
    assert done.code == 0
    lines = done.out.splitlines()
    assert any("flow_sleep: waiting for a point in time until 2" in line for line in lines)
    assert any("try: waiting for its next attempt until 2" in line for line in lines)
    assert sum("OSError: busy" in line for line in lines) == 2
    assert "attempt 3" in lines[-2]


def test_waiting_ends_with_the_runs_deadline(manage: Manage) -> None:
    define("late", timeout="1h", steps=[{"type": "flow.sleep", "with": {"for": "3d"}}])

    class Late(Follower):
        def pause(self, seconds: float) -> None:
            Run.objects.update(deadline=timezone.now() - timedelta(minutes=1))

    command = trigger_workflow.Command()
    command.follower = Late
    done = manage(command, "late", "--wait")
    assert done.code == 1
    assert "RunTimeout" in done.err


def test_without_waiting_a_run_that_waits_is_left_to_the_clock(manage: Manage) -> None:
    define("long", steps=[{"type": "flow.sleep", "with": {"for": "3d"}}])
    done = manage("trigger_workflow", "long")
    assert done.code == 0
    assert "is waiting" in done.out
    assert "workflow_clock continues it" in done.err


def test_with_json_stdout_is_one_object_and_progress_goes_to_stderr(manage: Manage) -> None:
    echo(1, "é")
    done = manage("trigger_workflow", "echo", "--wait", "--json", "--key", "k-1")
    data = json.loads(done.out)
    assert (data["status"], data["output"], data["key"], data["version"]) == ("done", "é", "k-1", 1)
    assert [(each["step"], each["status"], each["output"]) for each in data["steps"]] == [
        ("tests_echo", "done", 1),
        ("tests_echo_2", "done", "é"),
    ]
    assert "tests_echo_2" in done.err


def test_json_of_a_failed_run_is_printed_too(manage: Manage) -> None:
    define("bad", steps=[{"type": "tests.fail"}])
    done = manage("trigger_workflow", "bad", "--json")
    assert done.code == 1
    assert json.loads(done.out)["error_type"] == "ValueError"


def test_a_key_finds_the_earlier_run(manage: Manage) -> None:
    echo(1)
    manage("trigger_workflow", "echo", "--key", "k")
    done = manage("trigger_workflow", "echo", "--key", "k", "--wait")
    assert done.code == 0
    assert "found an earlier run" in done.out
    assert Run.objects.count() == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_interrupt_while_a_step_runs_leaves_the_run_to_the_clock(
    manage: Manage, register: Callable[..., Any]
) -> None:
    pressed: list[int] = []

    def press() -> str:
        if not pressed:
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)
        return "second try"

    register("tests.press")(press)
    define("interrupted", steps=[{"type": "tests.press"}])
    done = manage("trigger_workflow", "interrupted", "--wait")
    run = Run.objects.get()
    assert done.code == 130
    assert f"Run {run.pk} goes on" in done.err
    assert not run.is_final
    assert manage("workflow_clock", "--once").code == 0
    run.refresh_from_db()
    assert run.output == "second try"


def test_an_interrupt_while_the_run_waits_exits_130(manage: Manage) -> None:
    define("long", steps=[{"type": "flow.sleep", "with": {"for": "3d"}}])

    class Interrupting(Follower):
        def pause(self, seconds: float) -> None:
            raise KeyboardInterrupt

    command = trigger_workflow.Command()
    command.follower = Interrupting
    assert manage(command, "long", "--wait").code == 130
    assert Run.objects.get().status == "waiting"


# show_run ------------------------------------------------------------


def test_a_run_is_shown_with_each_attempt(manage: Manage) -> None:
    define(
        "shown",
        steps=[
            {
                "name": "flaky",
                "type": "tests.fail",
                "retry": {"attempts": 2, "delay": 0},
                "on_error": "continue",
            },
            {"name": "nap", "type": "flow.sleep", "with": {"for": "1h"}},
        ],
    )
    run = trigger("shown", {"who": "x" * 1000}, key="k")
    done = manage("show_run", run.pk)
    assert f"Run {run.pk} of shown version 1: waiting" in done.out
    assert done.out.count("ValueError: broken") == 2
    assert "attempt 2" in done.out
    assert "why:      The step “nap” waits until" in done.out
    assert "waiting for a point in time until 2" in done.out
    assert "x" * 300 not in done.out
    assert manage("show_run", "--workflow", "shown", "--key", "k").out == done.out
    data = json.loads(manage("show_run", run.pk, "--json").out)
    assert data["input"] == {"who": "x" * 1000}
    assert [each["status"] for each in data["steps"]] == ["failed", "failed", "waiting"]
    assert data["steps"][2]["due_at"]


def test_what_operators_did_is_shown(manage: Manage) -> None:
    define("long", steps=[{"type": "flow.sleep", "with": {"for": "3d"}}])
    run = trigger("long")
    cancel_run(run, note="ordered twice")
    assert "cancel: ordered twice" in manage("show_run", run.pk).out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--workflow", "echo"],
        ["--key", "k"],
        ["no-id"],
        ["00000000-0000-0000-0000-000000000000"],
        ["00000000-0000-0000-0000-000000000000", "--key", "k"],
        ["--workflow", "echo", "--key", "k"],
    ],
)
def test_a_run_that_is_not_there_exits_2(manage: Manage, arguments: list[str]) -> None:
    done = manage("show_run", *arguments)
    assert done.code == 2
    assert done.err


# export_workflow ------------------------------------------------------------


FULL = {
    "description": "All: of 'it' # really",
    "input": {"order": "testapp.Order", "count": {"type": "int", "default": 2}},
    "timeout": "2h",
    "max_visits": 7,
}
FULL_STEPS = [
    {
        "name": "one",
        "type": "tests.echo",
        "with": {"value": ["{{ count }}", "no", "12:30", None, 1.5, True, "two\nlines\n"]},
        "if": "count > 1",
        "retry": [{"attempts": 3, "errors": ["OSError"]}, {"attempts": 2}],
        "timeout": None,
        "on_error": {"OSError": "rescue", "*": "fail"},
        "delay": "0.5",
    },
    {
        "name": "each",
        "type": "tests.echo",
        "for_each": "steps.one",
        "max_parallel": 2,
        "with": {"value": "{{ item }}"},
    },
    {"name": "rescue", "type": "tests.echo", "needs": "jump"},
]


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_an_export_reads_back_to_an_equal_definition(manage: Manage, ship: Ship, format: str) -> None:
    workflow = define("full", steps=FULL_STEPS, **FULL)
    assert workflow.published is not None
    spec = workflow.published.spec
    text = manage("export_workflow", "full", "--format", format).out
    assert "format" not in text
    Workflow.objects.update(published=None)
    Workflow.objects.all().delete()
    ship(f"full.{format}", text)
    sync("default")
    again = Workflow.objects.get(name="full").published
    assert again is not None
    assert again.spec == spec
    assert read_definition(again.spec) == read_definition(spec)


@pytest.mark.parametrize(("name", "start"), [("a.yaml", "name: full"), ("a.json", "{\n")])
def test_an_export_goes_to_a_file_in_the_format_of_its_name(
    manage: Manage, tmp_path: Path, name: str, start: str
) -> None:
    define("full", steps=FULL_STEPS, **FULL)
    assert manage("export_workflow", "full", "--output", tmp_path / name).out == ""
    assert (tmp_path / name).read_text().startswith(start)


def test_an_export_of_a_draft_that_was_never_published_is_the_draft(manage: Manage) -> None:
    workflow = Workflow.objects.create(name="draft")
    workflow.steps.create(name="one", type="flow.end", timeout="none")
    assert manage("export_workflow", "draft").out == (
        "name: draft\nsteps:\n  - {name: one, type: flow.end, timeout: null}\n"
    )


def test_an_export_of_nothing_exits_2(manage: Manage) -> None:
    echo(1)
    done = manage("export_workflow", "nobody")
    assert done.code == 2
    assert "there are: echo" in done.err


# list_step_types ------------------------------------------------------------


def test_step_types_are_listed_with_their_params(manage: Manage, register: Callable[..., Any]) -> None:
    def cut(sheet: str, edges: list[int] | None = None, kind: bool = True) -> None:
        """Cut a sheet.

        Not shown.
        """

    register("tests.cut", atomic=True, timeout=30, retry=Retry(attempts=5), aliases=["tests.snip"])(cut)
    out = manage("list_step_types", "tests.cut").out
    assert out.startswith(
        'tests.cut  [atomic]  [retry [{"attempts": 5}]]  [timeout 30s]  [formerly tests.snip]\n'
    )
    assert "    Cut a sheet.\n" in out
    assert "Not shown" not in out
    assert "      sheet: string\n" in out
    assert "      edges: array of integer or null = null\n" in out
    assert "      kind: boolean = true\n" in out
    assert (
        "tests.operations.test_trigger.test_step_types_are_listed_with_their_params.<locals>.cut (line "
        in out
    )


def test_step_types_are_listed_as_json(manage: Manage) -> None:
    listed = {each["type"]: each for each in json.loads(manage("list_step_types", "--json").out)}
    assert set(listed["flow.branch"]["params"]["properties"]) == {"if", "then", "else"}
    assert listed["flow.branch"]["flags"] == ["idempotent"]


def test_a_type_that_cannot_be_read_is_listed_all_the_same(
    manage: Manage, register: Callable[..., Any]
) -> None:
    def mystery(order: Nothing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation is nowhere."""

    register("tests.mystery")(mystery)
    assert "cannot be used" in manage("list_step_types", "tests.").out
    (listed,) = json.loads(manage("list_step_types", "tests.mystery", "--json").out)
    assert listed["params"] is None
    assert "Nothing" in listed["error"]


def test_no_step_types_are_no_error(manage: Manage) -> None:
    assert manage("list_step_types", "nothing.").out == "No step type begins so.\n"


def test_an_unknown_database_is_bad_usage(manage: Manage) -> None:
    assert "nowhere" in manage("show_run", "--database", "nowhere").err
