"""Approvals in real runs: who asks, who answers, and what the run makes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction

from django_workflow import (
    NotAllowed,
    ParamsError,
    VerbRefused,
    approve,
    cancel_run,
    define,
    reject,
    retry_run,
    trigger,
)
from django_workflow.asking import make_question
from django_workflow.exceptions import TooLarge
from django_workflow.models import Answer, Run, RunAction, StepRun
from django_workflow.status import RunStatus
from tests.support.runs import fresh, in_threads, let_time_pass

from .conftest import Ask, pass_deadline, row_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_approval_is_the_step_s_output_and_the_run_goes_on(ask: Ask, boss: User) -> None:
    run = ask(message="Order 7")
    assert (run.status, row_of(run).waiting_for) == ("waiting", "approval")

    run = approve(run, "ok", by=boss, note="a good customer")

    assert fresh(run).status == "done"
    output = row_of(run).output
    at = Answer.objects.get().at.isoformat()
    one = {"by": "boss", "approved": True, "note": "a good customer", "data": {}, "at": at}
    assert output == {"by": ["boss"], "at": at, "note": "a good customer", "data": {}, "answers": [one]}


@pytest.mark.parametrize(("note", "error"), [("too dear", "too dear"), ("", "rejected by boss")])
def test_a_rejection_fails_the_step_for_good(ask: Ask, boss: User, note: str, error: str) -> None:
    run = ask(step={"retry": {"attempts": 3}})
    reject(run, "ok", by=boss, note=note)
    row = row_of(run)
    assert (fresh(run).status, row.error_type.rpartition(".")[2], row.error) == ("failed", "Rejected", error)


def test_a_rejection_can_be_met_by_on_error_and_asked_again_by_a_retry(ask: Ask, boss: User) -> None:
    run = reject(ask(step={"on_error": {"Rejected": "continue"}}), "ok", by=boss)
    assert fresh(run).status == "done"
    run = reject(ask(), "ok", by=boss)
    retry_run(run)
    assert fresh(run).status == "waiting"
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_one_rejection_is_enough_where_several_approvals_are_asked(ask: Ask, boss: User, clerk: User) -> None:
    run = ask(users=["boss", "clerk"], count=2)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "waiting"
    reject(run, "ok", by=clerk)
    assert fresh(run).status == "failed"


def test_as_many_as_count_have_to_approve(ask: Ask, boss: User, clerk: User) -> None:
    run = ask(users=["boss", "clerk"], count=2)
    approve(run, "ok", by=clerk, note="yes")
    assert fresh(run).status == "waiting"
    approve(run, "ok", by=boss, note="me too")
    output = row_of(run).output
    assert (output["by"], output["note"]) == (["clerk", "boss"], "me too")
    assert [each["note"] for each in output["answers"]] == ["yes", "me too"]


def test_nobody_answers_twice_and_the_caller_s_transaction_stays_usable(
    ask: Ask, boss: User, clerk: User
) -> None:
    run = ask(users=["boss", "clerk"], count=2)
    approve(run, "ok", by=boss)
    with transaction.atomic():
        with pytest.raises(NotAllowed, match="'boss' has answered"):
            reject(run, "ok", by=boss)
        approve(run, "ok", by=clerk)
    assert fresh(run).status == "done"
    assert Answer.objects.count() == 2


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({"permission": "testapp.change_order"}, "lacks the permission 'testapp.change_order'"),
        ({"group": "bosses"}, "is not in 'bosses'"),
        ({"users": "boss"}, "is none of those who are asked"),
    ],
)
def test_only_who_is_asked_may_answer(
    ask: Ask, boss: User, clerk: User, who: dict[str, str], reason: str
) -> None:
    run = ask(**who)
    with pytest.raises(NotAllowed, match=reason):
        approve(run, "ok", by=clerk)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_a_superuser_has_every_permission_and_is_in_no_group(ask: Ask, boss: User) -> None:
    root = User.objects.create_superuser("root")
    run = ask(group="bosses")
    with pytest.raises(NotAllowed, match="not in"):
        approve(run, "ok", by=root)
    approve(ask(), "ok", by=root)


@pytest.mark.parametrize("allow_self", [True, False])
def test_who_triggered_the_run_answers_only_where_that_is_allowed(
    ask: Ask, boss: User, allow_self: bool
) -> None:
    run = ask(user=boss, allow_self=allow_self)
    if allow_self:
        approve(run, "ok", by=boss)
    else:
        with pytest.raises(NotAllowed, match="triggered the run"):
            approve(run, "ok", by=boss)
    assert fresh(run).status == ("done" if allow_self else "waiting")


def test_nobody_and_who_is_not_active_any_more_may_not_answer(ask: Ask, boss: User) -> None:
    run = ask(users="boss")
    boss.is_active = False
    for by in (None, AnonymousUser(), boss):
        with pytest.raises(NotAllowed):
            approve(run, "ok", by=by)  # type: ignore[arg-type]


FORM = {"limit": {"type": "int"}, "due": {"type": "date", "required": False}}


def test_data_is_converted_by_the_form(ask: Ask, boss: User) -> None:
    run = ask(form=FORM)
    approve(run, "ok", by=boss, data={"limit": "7", "due": "2026-01-31"})
    assert row_of(run).output["data"] == {"limit": 7, "due": {"$date": "2026-01-31"}}


@pytest.mark.parametrize(
    ("data", "names"),
    [({}, {"limit"}), ({"limit": "x", "due": "y", "more": 1}, {"limit", "due", "more"})],
)
def test_data_that_does_not_fit_is_refused_with_all_problems(
    ask: Ask, boss: User, data: dict[str, Any], names: set[str]
) -> None:
    run = ask(form=FORM)
    with pytest.raises(ParamsError) as caught:
        approve(run, "ok", by=boss, data=data)
    assert caught.value.problems.keys() == names
    assert not Answer.objects.exists()


def test_a_rejection_needs_no_data(ask: Ask, boss: User) -> None:
    reject(ask(form=FORM), "ok", by=boss)
    assert not Answer.objects.get().is_approved


def test_what_does_not_wait_is_refused_with_what_happened(ask: Ask, boss: User, clerk: User) -> None:
    answered, cancelled = approve(ask(), "ok", by=boss), cancel_run(ask())
    for run, text in ((answered, "boss: approved"), (cancelled, "is cancelled")):
        with pytest.raises(VerbRefused, match=text):
            approve(run, "ok", by=clerk)
    with pytest.raises(VerbRefused, match="no such step"):
        approve(answered, "nothing", by=boss)


def test_past_its_deadline_the_step_fails(ask: Ask, boss: User) -> None:
    run = ask(step={"timeout": "1d"})
    pass_deadline(run)
    assert let_time_pass(run).status == "failed"
    with pytest.raises(VerbRefused, match="WaitTimeout"):
        approve(run, "ok", by=boss)


def test_an_answer_counts_that_comes_before_the_deadline_is_taken_up(ask: Ask, boss: User) -> None:
    run = ask(step={"timeout": "1d"})
    pass_deadline(run)
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"


def test_a_paused_run_takes_the_answer_and_starts_nothing(ask: Ask, boss: User) -> None:
    run = ask()
    Run.objects.filter(pk=run.pk).update(status=RunStatus.PAUSED)
    approve(run, "ok", by=boss)
    row = row_of(run)
    assert (fresh(run).status, row.status, row.due_at) == ("paused", "pending", None)


def test_an_answer_is_noted_as_an_action(ask: Ask, boss: User) -> None:
    run = reject(ask(), "ok", by=boss, note="no")
    action = RunAction.objects.get(run=run)
    assert (action.verb, action.step, action.by, action.note) == ("reject", "ok", boss, "no")


def test_several_items_that_wait_are_answered_one_by_one(boss: User) -> None:
    asking = {"name": "ok", "type": "flow.approval", "for_each": "people", "with": {"users": "{{ item }}"}}
    define("each", steps=[asking])
    run = trigger("each", {"people": ["boss", "boss"]})
    with pytest.raises(VerbRefused, match="several items"):
        approve(run, "ok", by=boss)
    for item in run.step_runs.filter(index__gte=0):
        approve(run, item, by=boss)
    assert fresh(run).status == "done"


def test_answers_at_the_same_moment_each_count_once(ask: Ask, boss: User, clerk: User) -> None:
    run = ask(users=["boss", "clerk"], count=2)

    def give(user: User) -> bool:
        try:
            approve(run.pk, "ok", by=user)
        except VerbRefused:
            return False
        return True

    assert sorted(in_threads(*[partial(give, user) for user in (boss, boss, clerk)])) == [False, True, True]
    assert (fresh(run).status, len(row_of(run).output["answers"])) == ("done", 2)
    assert run.step_runs.filter(step="after").count() == 1


def test_a_rolled_back_answer_never_was(ask: Ask, boss: User) -> None:
    run = ask()
    with transaction.atomic():
        approve(run, "ok", by=boss)
        transaction.set_rollback(True)
    assert (fresh(run).status, Answer.objects.count()) == ("waiting", 0)


@pytest.mark.parametrize("name", ["user", "name", "key", "list", "text key"])
def test_users_are_named_by_instance_username_or_key(boss: User, clerk: User, name: str) -> None:
    User.objects.create_user(str(boss.pk + 1000))
    named = {
        "user": boss,
        "name": "boss",
        "key": boss.pk,
        "list": [boss, "clerk", clerk.pk],
        "text key": str(boss.pk),
    }[name]
    define("ask", steps=[{"name": "ok", "type": "flow.approval", "with": {"users": "{{ who }}"}}])
    run = approve(trigger("ask", {"who": named}), "ok", by=boss)
    assert fresh(run).status == "done"


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "exactly one"),
        ({"group": "bosses", "users": "boss"}, "exactly one"),
        ({"group": "nobody"}, "no group 'nobody'"),
        ({"permission": "shop"}, "app.codename"),
        ({"permission": "shop.fly"}, "no permission 'shop.fly'"),
        ({"users": ["boss", "nobody", 99999]}, "no user 'nobody'; users: there is no user '99999'"),
        ({"users": [True]}, "no user 'True'"),
        ({"users": [None]}, "no user 'None'"),
        ({"users": {"pk": 1}}, "no user"),
        ({"users": 10**30}, "no user"),
        ({"users": []}, "fewer active users"),
        ({"users": ["boss", "boss"], "count": 2}, "fewer active users"),
        ({"users": ["boss"], "count": 0}, "at least one"),
        ({"group": "bosses", "form": {"a": "nothing"}}, "unknown type"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(
    boss: User, params: dict[str, Any], text: str
) -> None:
    nothing = {"permission": None, "group": None, "users": None, "form": None}
    given: dict[str, Any] = {"count": 1, "allow_self": False, "message": "", "askers": ()} | nothing | params
    with pytest.raises(ParamsError, match=text):
        make_question(**given)


def test_who_triggered_the_run_alone_cannot_be_asked_without_allow_self(boss: User) -> None:
    define("ask", steps=[{"name": "ok", "type": "flow.approval", "with": {"users": "boss"}}])
    assert "allow_self" in trigger("ask", user=boss).error


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_it_works_on_another_database(boss: User) -> None:
    asking = {"name": "ok", "type": "flow.approval", "with": {"permission": "testapp.change_order"}}
    define("ask", steps=[asking], using="other")
    run = trigger("ask", using="other")
    assert list(StepRun.objects.using("other").approvable_by(boss)) == [row_of(run)]
    approve(run, "ok", by=boss)
    assert fresh(run).status == "done"
    assert Answer.objects.using("other").get().name == "boss"


def test_what_was_approved_before_the_run_failed_is_not_asked_again_by_a_retry(
    boss: User, register: Callable[..., Any]
) -> None:
    broken = {"is": True}

    @register("tests.break_once")
    def break_once() -> str:
        if broken["is"]:
            raise ValueError("broken")
        return "mended"

    second = User.objects.create_user("second")
    users = [boss.username, second.username]
    ask = {"type": "flow.approval", "with": {"users": users, "count": 2}, "needs": []}
    define(
        "flow",
        steps=[
            {"name": "ok", **ask},
            {"name": "work", "type": "tests.break_once", "delay": "1h", "needs": []},
        ],
    )
    run = trigger("flow")
    approve(run, "ok", by=boss)
    let_time_pass(run)
    assert (fresh(run).status, row_of(run).status) == ("failed", "cancelled")
    broken["is"] = False
    retry_run(run)
    with pytest.raises(NotAllowed):
        approve(run, "ok", by=boss)
    approve(run, "ok", by=second)
    run = fresh(run)
    assert run.status == "done"
    assert sorted(run.output_of("ok")["by"]) == ["boss", "second"]


def test_username_that_looks_like_a_key_does_not_take_the_place_of_that_user(ask: Ask, boss: User) -> None:
    other = User.objects.create_user(str(boss.pk))
    run = fresh(ask(users=[str(boss.pk)]))
    assert run.status == "failed"
    assert "the key of one user and the username of another" in run.error
    with pytest.raises(VerbRefused):
        approve(run, "ok", by=other)


def test_an_answer_that_the_step_could_not_hold_is_refused(ask: Ask, boss: User, settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 500}
    run = ask(form={"why": "str"}, count=2)
    second = User.objects.create_superuser("second")
    approve(run, "ok", by=second, data={"why": "x" * 100})
    with pytest.raises(TooLarge, match="all answers together: 702 "):
        approve(run, "ok", by=boss, data={"why": "x" * 150})
    assert Answer.objects.count() == 1
    approve(run, "ok", by=boss, data={"why": "good"})
    assert fresh(run).status == "done"
