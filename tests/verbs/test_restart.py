"""``restart_run``: a new run in place of a final one, from its start."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from django_workflow import cancel_run, define, restart_run, retry_run, skip_step, trigger, undo_run
from django_workflow.exceptions import ParamsError, VerbRefused
from django_workflow.models import Run, RunAction, Workflow
from tests.support.runs import fresh, let_time_pass, notes, start, step_runs
from tests.support.states import run_in

pytestmark = pytest.mark.django_db(transaction=True)
WORK = [{"name": "one", "type": "tests.work"}]


def test_a_restarted_run_begins_anew_with_the_same_input_and_is_linked(broken) -> None:
    broken.add("one")
    owner, operator = User.objects.create_user("owner"), User.objects.create_user("operator")
    define("flow", steps=WORK, timeout="1d")
    old = trigger("flow", {"user": owner}, key="k", subject=owner, user=owner)
    broken.clear()
    new = restart_run(old, by=operator, note="mended")
    assert (new.pk != old.pk, new.status, new.restarted_from) == (True, "done", old)
    assert (new.input, new.subject, new.triggered_by) == (old.input, owner, owner)
    assert (new.source, new.was_created) == ("code", True)
    assert new.deadline > timezone.now() + timedelta(hours=23)
    assert fresh(old).status == "failed"
    assert notes() == ["one 1", "one 1"]
    for run in (old, new):
        assert list(run.actions.values_list("verb", "by__username", "note")) == [
            ("restart", "operator", "mended")
        ]


def test_the_key_moves_to_the_new_run(broken) -> None:
    define("flow", steps=WORK)
    old = trigger("flow", key="k")
    new = restart_run(("flow", "k"))
    assert (fresh(old).key, new.key) == (None, "k")
    again = trigger("flow", key="k")
    assert (again.pk, again.was_created) == (new.pk, False)
    newest = restart_run(("flow", "k"))
    assert (newest.restarted_from, newest.key, fresh(new).key) == (new, "k", None)


@pytest.mark.parametrize("revive", [retry_run, lambda run: skip_step(run, "two")])
def test_a_run_that_was_restarted_does_its_work_no_more(broken, revive) -> None:
    broken.add("two")
    old = start([*WORK, {"name": "two", "type": "tests.work"}])
    failed = restart_run(old)
    with pytest.raises(VerbRefused, match=f"restarted as {failed.pk}, which is failed: go on with that one"):
        revive(old)
    broken.clear()
    done = restart_run(failed)
    for run in (old, failed):
        with pytest.raises(VerbRefused, match=f"as {done.pk}, which is done: restart that one to do"):
            revive(run)
    assert notes() == ["one 1", "two 1", "one 1", "two 1", "one 1", "two 1"]


def test_a_cancelled_restart_stands_for_nothing_but_one_of_its_own_does(broken) -> None:
    broken.add("one")
    old = start([{**WORK[0], "delay": "0s"}])
    broken.clear()
    with transaction.atomic():
        cancelled = cancel_run(restart_run(old))
    done = restart_run(cancelled)
    with pytest.raises(VerbRefused, match=f"restarted as {done.pk}, which is done"):
        retry_run(old)
    Run.objects.filter(pk=done.pk).delete()
    retry_run(old)
    assert fresh(old).status == "done"


def test_a_run_that_lost_its_key_is_restarted_without_one(broken) -> None:
    define("flow", steps=WORK)
    old = trigger("flow", key="k")
    new = restart_run(old)
    assert (restart_run(old).key, fresh(new).key) == (None, "k")


def test_another_input_is_checked_as_at_trigger(broken) -> None:
    echo = [{"name": "one", "type": "tests.echo", "with": {"value": "{{ count }}"}}]
    define("flow", steps=echo, input={"count": "int"})
    old = trigger("flow", {"count": 1}, key="k")
    assert restart_run(old, input={"count": "2"}).output == 2
    before = Run.objects.count()
    with pytest.raises(ParamsError, match="count"):
        restart_run(("flow", "k"), input={"count": "many"})
    assert (Run.objects.count(), Run.objects.filter(key="k").count()) == (before, 1)


def test_the_version_stays_unless_the_newest_is_asked_for(broken) -> None:
    old = start([{"name": "one", "type": "tests.echo", "with": {"value": "old"}}])
    define("flow", steps=[{"name": "one", "type": "tests.echo", "with": {"value": "new"}}])
    assert restart_run(old).output == "old"
    assert restart_run(old, newest=True).output == "new"


def test_the_same_input_has_to_fit_the_newest_version(broken) -> None:
    user = User.objects.create_user("owner")
    echo = [{"name": "one", "type": "tests.echo", "with": {"value": "{{ user.username }}"}}]
    define("flow", steps=echo)
    old = trigger("flow", {"user": user})
    define("flow", steps=echo, input={"user": "auth.User", "count": {"type": "int", "default": 3}})
    new = restart_run(old, newest=True)
    assert (new.output, new.input["count"]) == ("owner", 3)
    define("flow", steps=echo, input={"user": "auth.User", "count": "int"})
    with pytest.raises(ParamsError, match="count"):
        restart_run(old, newest=True)
    assert restart_run(old).output == "owner"


def test_a_run_of_a_workflow_that_is_off_is_restarted_when_it_is_on(broken) -> None:
    define("flow", steps=WORK)
    Workflow.objects.update(enabled=False)
    old = trigger("flow", {"a": 1})
    with pytest.raises(VerbRefused, match="switch it on"):
        restart_run(old)
    Workflow.objects.update(enabled=True)
    new = restart_run(old)
    assert (new.status, new.input) == ("done", {"a": 1})


def test_a_restart_rolled_back_leaves_the_key_and_no_run(broken) -> None:
    define("flow", steps=WORK)
    old = trigger("flow", key="k")
    with transaction.atomic():
        restart_run(old)
        transaction.set_rollback(True)
    assert (fresh(old).key, Run.objects.count(), RunAction.objects.count()) == ("k", 1, 0)


def test_a_restart_runs_after_the_commit(broken) -> None:
    define("flow", steps=WORK)
    old = trigger("flow")
    with transaction.atomic():
        new = restart_run(old)
        assert (new.status, notes()) == ("pending", ["one 1"])
    assert fresh(new).status == "done"


def test_the_delay_of_a_first_step_holds_again(broken) -> None:
    old = start([{**WORK[0], "delay": "1h"}])
    assert let_time_pass(old).status == "done"
    new = restart_run(old)
    assert (new.status, step_runs(new).get().waiting_for) == ("pending", "timer")


def test_a_run_whose_undo_has_begun_is_restarted_from_its_start_only(broken) -> None:
    old = run_in("undone")
    with pytest.raises(VerbRefused, match=r"undo of run .* has begun"):
        restart_run(old, from_step="after")
    assert restart_run(old).status == "failed"


def test_of_a_chain_only_the_newest_run_is_undone(broken) -> None:
    undo = {"name": "one", "type": "tests.echo", "undo": {"type": "tests.work"}}
    old = start([undo, {"name": "two", "type": "tests.echo"}])
    new = restart_run(old, from_step="two")
    with pytest.raises(VerbRefused, match=str(new.pk)):
        undo_run(old)
    undo_run(new)
    assert (fresh(new).status, notes()) == ("done", ["one:undo 1"])


def test_an_unknown_step_is_named(broken) -> None:
    old = start(WORK)
    with pytest.raises(VerbRefused, match="no step 'two' to restart from; there are one"):
        restart_run(old, from_step="two")
