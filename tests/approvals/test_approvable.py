"""What a user finds to answer, and that it is what they may answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_workflow import NotAllowed, approve, define, trigger
from django_workflow.models import Run, StepRun
from tests.testapp.models import Order

from .conftest import PERMISSION, Ask

pytestmark = pytest.mark.django_db(transaction=True)


def found(user: Any) -> set[Any]:
    return {row.run_id for row in StepRun.objects.approvable_by(user)}


def test_it_finds_exactly_what_the_user_may_answer(ask: Ask, boss: User, clerk: User) -> None:
    root = User.objects.create_superuser("root")
    User.objects.create_user("third")
    gone = User.objects.create_user("gone", is_active=False)
    who: list[dict[str, Any]] = [
        {"permission": PERMISSION},
        {"permission": "auth.add_user"},
        {"group": "bosses"},
        {"users": ["boss", "gone", "third"]},
        {"users": ["clerk", "root"]},
    ]
    runs = [
        ask(user=user, allow_self=allow_self, **each)
        for each in who
        for user in (None, boss, clerk, root)
        for allow_self in (True, False)
    ]
    assert {run.status for run in runs} == {"waiting"}
    answerable = {user.username: found(user) for user in (boss, clerk, root, gone)}
    assert {name: len(rows) for name, rows in answerable.items()} == {
        "boss": 3 * 7,
        "clerk": 7,
        "root": 3 * 7,
        "gone": 0,
    }
    for user in (boss, clerk, root, gone):
        assert {run.pk for run in runs if may_answer(run, user)} == answerable[user.username]


def may_answer(run: Run, user: User) -> bool:
    with transaction.atomic():
        try:
            approve(run, "ok", by=User.objects.get(pk=user.pk))
        except NotAllowed:
            return False
        finally:
            transaction.set_rollback(True)
    return True


def test_what_one_has_answered_is_found_by_the_others_only(ask: Ask, boss: User, clerk: User) -> None:
    run = ask(users=["boss", "clerk"], count=2)
    approve(run, "ok", by=boss)
    assert (found(boss), found(clerk)) == (set(), {run.pk})
    approve(run, "ok", by=clerk)
    assert found(clerk) == set()


def test_a_visitor_finds_nothing(ask: Ask) -> None:
    ask(users=User.objects.create_user("someone").username)
    assert found(AnonymousUser()) == set()


def test_the_number_of_queries_does_not_grow_with_the_rows(ask: Ask, boss: User) -> None:
    counts = []
    for _ in range(2):
        for _ in range(3):
            ask()
            ask(group="bosses")
        with CaptureQueriesContext(connection) as queries:
            assert found(User.objects.get(pk=boss.pk))
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 6


class OwnOrders(BaseBackend):
    """Gives every permission on the order whose number is the user's name, and on runs of that key."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return getattr(obj, "number", getattr(obj, "key", None)) == user_obj.get_username()


@override_settings(
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", f"{__name__}.OwnOrders"]
)
def test_a_permission_may_be_held_for_the_subject_or_else_for_the_run(clerk: User) -> None:
    define("ask", steps=[{"name": "ok", "type": "flow.approval", "with": {"permission": PERMISSION}}])
    own, other = (Order.objects.create(number=number) for number in ("clerk", "1"))
    expected = {trigger("ask", subject=own).pk, trigger("ask", key="clerk").pk}
    trigger("ask", subject=other)
    trigger("ask", key="2", subject=other)
    assert found(clerk) == expected
    for run in Run.objects.all():
        assert may_answer(run, clerk) == (run.pk in expected)
