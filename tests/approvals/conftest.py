"""People who answer, and what the tests ask them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from django_workflow import define, trigger
from django_workflow.models import Run, StepRun

PERMISSION = "testapp.change_order"
Ask = Callable[..., Run]


@pytest.fixture
def boss() -> User:
    """Return a user who has the permission, and is in the group "bosses"."""
    user = User.objects.create_user("boss", "boss@shop.example")
    user.user_permissions.add(Permission.objects.get(codename="change_order"))
    user.groups.add(Group.objects.create(name="bosses"))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def clerk() -> User:
    """Return a user who may do nothing."""
    return User.objects.create_user("clerk", "clerk@shop.example")


@pytest.fixture
def ask() -> Ask:
    """Return what starts a run of one approval, and a step behind it; it has these params."""

    def start(*, step: dict[str, Any] | None = None, user: User | None = None, **params: Any) -> Run:
        who = {} if params.keys() & {"permission", "group", "users"} else {"permission": PERMISSION}
        asking = {"name": "ok", "type": "flow.approval", "with": {**who, **params}, **(step or {})}
        define("ask", steps=[asking, {"name": "after", "type": "flow.set", "with": {"after": True}}])
        return trigger("ask", user=user)

    return start


def pass_deadline(run: Run) -> None:
    """Let the time of the approval be over, without anybody having looked."""
    row, past = row_of(run), timezone.now() - timedelta(minutes=1)
    row.awaits, row.due_at = {**(row.awaits or {}), "until": past.isoformat()}, past
    row.save(update_fields=["awaits", "due_at"])


def row_of(run: Run, step: str = "ok") -> StepRun:
    """Return the row of the approval as it is in the database."""
    return StepRun.objects.using(run._state.db).get(run_id=run.pk, step=step, index=-1)
