"""``manage.py workflow_runs``: single runs, all that fit, and what it says and asks."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_workflow import define, restart_run, trigger
from django_workflow.engine.bulk_verbs import BULK_VERBS
from django_workflow.management.commands import workflow_runs
from django_workflow.models import BulkAction, Event, Run, RunAction
from tests.support.bulk_runs import FAIL, NAP, attempts, begin, counts, let_lease_expire, several
from tests.support.runs import run_in, start

from .conftest import Manage

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"name": "wait", "type": "flow.wait", "with": {"event": "paid"}}


def statuses() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("status", flat=True))


# Named runs


def test_runs_that_are_named_are_done_at_once(manage: Manage) -> None:
    runs = several(3, NAP)
    done = manage("workflow_runs", "cancel", runs[0].pk, runs[1].pk, "--note", "not needed")
    assert done.code == 0
    assert done.out == "".join(f"{run.pk} cancelled: cancelled\n" for run in runs[:2])
    assert statuses() == ["cancelled", "cancelled", "waiting"]
    assert {action.note for action in RunAction.objects.all()} == {"not needed"}
    assert not BulkAction.objects.exists()


def test_some_that_are_refused_exit_1_and_the_others_are_done(manage: Manage) -> None:
    failed, napping = several(1, FAIL)[0], several(1, NAP)[0]
    nobody = uuid4()
    done = manage("workflow_runs", "cancel", failed.pk, nobody, napping.pk)
    assert done.code == 1
    assert f"{failed.pk} refused: run {failed.pk} is failed" in done.err
    assert f"{nobody} does not exist" in done.err
    assert statuses() == ["failed", "cancelled"]


def test_results_as_json(manage: Manage) -> None:
    failed, napping = several(1, FAIL)[0], several(1, NAP)[0]
    done = manage("workflow_runs", "cancel", failed.pk, napping.pk, "--json")
    first, second = json.loads(done.out)
    assert (done.code, first["status"], second) == (
        1,
        "failed",
        {"run": str(napping.pk), "status": "cancelled", "refused": ""},
    )
    assert "final run" in first["refused"]


@pytest.mark.parametrize(
    ("status", "arguments", "expected"),
    [
        ("waiting", ["cancel"], ["cancelled"]),
        ("waiting", ["pause"], ["paused"]),
        ("paused", ["resume"], ["waiting"]),
        ("failed", ["retry"], ["failed"]),
        ("failed", ["restart"], ["failed", "failed"]),
        ("failed", ["skip", "--step", "tests_fail", "--output", "7"], ["done"]),
        ("waiting", ["event", "--name", "paid", "--payload", '{"amount": 1}', "--id", "1"], ["waiting"]),
    ],
)
@pytest.mark.parametrize("is_bulk", [False, True])
def test_every_verb_does_what_its_name_says(
    manage: Manage, status: str, arguments: list[str], expected: list[str], is_bulk: bool
) -> None:
    run = run_in(status)
    verb, *options = arguments
    done = manage("workflow_runs", verb, *(["--workflow", "flow"] if is_bulk else [run.pk]), *options)
    assert (done.code, done.err) == (0, "")
    assert statuses() == expected
    assert set(RunAction.objects.values_list("verb", flat=True)) == {verb}
    assert RunAction.objects.filter(run=run, bulk__isnull=not is_bulk).count() == 1


def test_an_undo_of_done_steps(manage: Manage) -> None:
    undo = {"type": "tests.note", "with": {"text": "undone"}}
    several(2, {"name": "work", "type": "tests.echo", "undo": undo})
    assert manage("workflow_runs", "undo", "--workflow", "flow").code == 0
    assert Run.objects.filter(step_runs__step="work:undo", step_runs__status="done").count() == 2


def test_an_event_wakes_each_run_that_waits_for_it(manage: Manage) -> None:
    several(2, WAIT)
    done = manage("workflow_runs", "event", "--workflow", "flow", "--name", "paid", "--payload", "7")
    assert (done.code, statuses()) == (0, ["done", "done"])
    assert [run.output["payload"] for run in Run.objects.all()] == [7, 7]
    assert Event.objects.count() == 2


def test_command_says_that_the_name_of_an_event_is_wrong() -> None:
    run = start([WAIT])
    with pytest.raises((CommandError, SystemExit)):
        call_command("workflow_runs", "event", str(run.pk), "--name", "")


def test_an_approval_is_answered_by_who_may(manage: Manage) -> None:
    User.objects.create_superuser("boss")
    User.objects.create_user("guest")
    steps = [{"name": "ask", "type": "flow.approval", "with": {"permission": "auth.add_user"}}]
    define("flow", steps=steps)
    runs = [trigger("flow"), trigger("flow")]
    ask = ("--step", "ask", "--note", "fine")
    assert manage("workflow_runs", "approve", runs[0].pk, *ask, "--by", "guest").code == 1
    assert manage("workflow_runs", "approve", runs[0].pk, *ask).code == 1
    assert manage("workflow_runs", "approve", runs[0].pk, *ask, "--by", "boss").code == 0
    assert manage("workflow_runs", "reject", runs[1].pk, *ask, "--by", "boss").code == 0
    assert statuses() == ["done", "failed"]


# All that fit


def test_all_that_fit_are_done_and_counted(manage: Manage) -> None:
    several(2, FAIL)
    several(1, NAP, name="nap")
    done = manage("workflow_runs", "retry", "--error", "ValueError", "--note", "mended")
    assert (done.code, done.out, done.err) == (0, "Retried 2 of 2; 2 of these failed.\n", "")
    assert attempts() == [2, 2, 1]
    assert BulkAction.objects.get().note == "mended"


def test_refusals_exit_1_and_are_named(manage: Manage) -> None:
    (run,) = several(1, FAIL)
    done = manage("workflow_runs", "cancel", "--status", "failed", "--json")
    assert (done.code, json.loads(done.out)["refused"]) == (1, 1)
    done = manage("workflow_runs", "cancel", "--status", "failed")
    assert (done.code, done.out) == (1, "Cancelled 0 of 1, refused 1.\n")
    assert f"{run.pk} refused: run {run.pk} is failed" in done.err


def test_a_dry_run_counts_and_changes_nothing(manage: Manage) -> None:
    several(2, FAIL)
    assert manage("workflow_runs", "retry", "--all", "--dry-run").out == "Would retry 2 runs.\n"
    assert (attempts(), BulkAction.objects.count()) == ([1, 1], 0)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--older-than", "1d"], 1),
        (["--newer-than", "1d"], 2),
        (["--older-than", "4d"], 0),
        (["--key", "k"], 1),
        (["--step", "broken"], 3),
        (["--status", "waiting", "--status", "failed"], 3),
        (["--workflow", "flow", "--newer-than", "1d"], 2),
    ],
)
def test_filters_are_options(manage: Manage, options: list[str], count: int) -> None:
    runs = several(3, FAIL)
    Run.objects.filter(pk=runs[0].pk).update(created_at=timezone.now() - timedelta(days=3), key="k")
    done = manage("workflow_runs", "retry", *options, "--dry-run")
    assert done.out == f"Would retry {count} run{'' if count == 1 else 's'}.\n"


class Terminal(io.StringIO):
    """A terminal, and what is typed in."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "count"), [("y\n", 0, 2), ("\n", 1, 1), ("no\n", 1, 1)])
def test_a_person_is_asked_first(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, count: int
) -> None:
    several(1, FAIL)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    done = manage("workflow_runs", "retry", "--workflow", "flow")
    assert (done.code, attempts()) == (code, [count])


def test_a_person_who_said_yes_is_not_asked(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    several(1, FAIL)
    monkeypatch.setattr("sys.stdin", Terminal())
    assert manage("workflow_runs", "retry", "--workflow", "flow", "--yes").code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["retry"], "--all"),
        (["retry", "ID", "--workflow", "flow"], "not both"),
        (["retry", "ID", "--all"], "not both"),
        (["retry", "7"], "'7' is no id"),
        (["retry", "--workflow", "no"], "There is no workflow 'no'"),
        (["event", "--all"], "event needs --name"),
        (["skip", "ID"], "skip needs --step"),
        (["retry", "ID", "--from-step", "x"], "retry takes no --from-step"),
        (["approve", "--all"], "approve is for runs that you name"),
        (["retry", "ID", "--by", "nobody"], "There is no user 'nobody'"),
        (["follow"], "id of one bulk action"),
        (["follow", "ID"], "There is no bulk action"),
    ],
)
def test_bad_usage_exits_2_and_changes_nothing(manage: Manage, arguments: list[str], problem: str) -> None:
    (run,) = several(1, FAIL)
    done = manage("workflow_runs", *[str(run.pk) if each == "ID" else each for each in arguments])
    assert done.code == 2
    assert problem in done.err
    assert (attempts(), BulkAction.objects.count()) == ([1], 0)


def test_who_may_not_is_refused(manage: Manage) -> None:
    user = User.objects.create_user("staff")
    (run,) = several(1, FAIL)
    for arguments in ([run.pk], ["--all"]):
        done = manage("workflow_runs", "retry", *arguments, "--by", "staff")
        assert done.code == 2
        assert "django_workflow.control_run is missing" in done.err
    assert attempts() == [1]
    user.user_permissions.add(Permission.objects.get(codename="control_run"))
    assert manage("workflow_runs", "retry", run.pk, "--by", "staff").code == 0
    assert RunAction.objects.get().by == user


# Interrupted, and gone on with


def test_a_bulk_action_that_was_interrupted_is_gone_on_with(
    manage: Manage, register: Callable[..., Any]
) -> None:
    calls: list[int] = []

    @register("tests.interrupted")
    def interrupted() -> None:
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        raise ValueError

    several(3, {"type": "tests.interrupted"})
    done = manage("workflow_runs", "retry", "--all")
    bulk = BulkAction.objects.get()
    assert done.code == 130
    assert f"workflow_runs follow {bulk.pk}" in done.err
    assert counts(bulk) == (3, 2, 0)
    let_lease_expire(bulk)
    done = manage("workflow_runs", "follow", bulk.pk)
    assert (done.code, done.out) == (0, "Retried 3 of 3; 2 of these failed.\n")


def test_a_terminal_is_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    several(2, FAIL)
    monkeypatch.setattr(workflow_runs, "TELL_EVERY", 0.0)
    terminal = Terminal()
    bulk = begin("cancel", status=("failed",))
    with pytest.raises(SystemExit):
        call_command("workflow_runs", "follow", str(bulk.pk), stdout=io.StringIO(), stderr=terminal)
    assert "Cancelled 0 of 2, refused 2" in terminal.getvalue()


# The list


def test_the_list_shows_what_fits_newest_first(manage: Manage) -> None:
    failed = several(2, FAIL)
    several(1, NAP, name="nap")
    lines = manage("workflow_runs", "list", "--status", "failed").out.splitlines()
    assert [line.split()[0] for line in lines] == [str(run.pk) for run in reversed(failed)]
    assert all("flow" in line and line.endswith("broken: broken") for line in lines)
    assert len(manage("workflow_runs", "list").out.splitlines()) == 3


def test_a_long_list_says_that_there_is_more(manage: Manage) -> None:
    several(3, NAP)
    done = manage("workflow_runs", "list", "--limit", "2")
    assert len(done.out.splitlines()) == 2
    assert "1 more" in done.err


def test_the_list_as_json(manage: Manage) -> None:
    (run,) = several(1, FAIL)
    (row,) = json.loads(manage("workflow_runs", "list", run.pk, "--json").out)
    assert (row["id"], row["status"], row["error_type"]) == (str(run.pk), "failed", "ValueError")


def test_all_verbs_are_named_in_the_help() -> None:
    text = workflow_runs.Command().create_parser("manage.py", "workflow_runs").format_help()
    assert all(verb in text for verb in BULK_VERBS)


def test_runs_that_failed_again_are_told_from_those_that_did_not(manage: Manage) -> None:
    several(2, FAIL)
    assert manage("workflow_runs", "retry", "--all").out == "Retried 2 of 2; 2 of these failed.\n"
    assert manage("workflow_runs", "restart", "--all").out == "Restarted 2 of 2; 2 of these failed.\n"
    several(1, NAP, name="naps")
    assert manage("workflow_runs", "cancel", "--workflow", "naps").out == "Cancelled 1 of 1.\n"


@pytest.mark.parametrize(
    ("verb", "filters", "out"),
    [
        ("retry", ["--status", "waiting"], "Would retry 0 runs, refused 1.\n"),
        ("retry", ["--all"], "Would retry 1 run, refused 1.\n"),
        ("cancel", ["--all"], "Would cancel 1 run.\n"),
        ("undo", ["--status", "failed"], "Would undo 0 runs, refused 2.\n"),
    ],
)
def test_a_dry_run_counts_what_would_be_refused(
    manage: Manage, verb: str, filters: list[str], out: str
) -> None:
    newer = restart_run(several(2, FAIL)[1])
    several(1, NAP, name="naps")
    Run.objects.filter(pk=newer.pk).update(status="done")
    before = list(Run.objects.order_by("pk").values())
    done = manage("workflow_runs", verb, *filters, "--dry-run")
    assert (done.out, done.code) == (out, 0)
    assert ("refused: run" in done.err) == ("refused" in out)
    assert list(Run.objects.order_by("pk").values()) == before
    assert (BulkAction.objects.count(), attempts()) == (0, [1, 1, 1, 1])


def test_json_says_how_many_failed_again_and_what_a_dry_run_would_do(manage: Manage) -> None:
    several(2, FAIL)
    rehearsed = json.loads(manage("workflow_runs", "retry", "--all", "--dry-run", "--json").out)
    assert rehearsed == {
        "verb": "retry",
        "dry_run": True,
        "total": 2,
        "tried": 2,
        "refused": 0,
        "refusals": {},
    }
    answer = json.loads(manage("workflow_runs", "retry", "--all", "--json").out)
    assert (answer["done"], answer["refused"], answer["failed"]) == (2, 0, 2)
