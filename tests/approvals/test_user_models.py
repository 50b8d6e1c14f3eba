"""User models and backends that are not Django's own: an approval waits, and asks whom it can find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import User
from django.core import mail

from django_workflow import approve, define, trigger
from django_workflow.models import Run
from tests.projects import CONTRIB, Project

from .conftest import PERMISSION, row_of

MODELS = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    name = models.CharField(max_length=50, unique=True)
    {fields}
    USERNAME_FIELD = "name"
    objects = BaseUserManager()

    {methods}
"""
EMAIL = 'email = models.EmailField(default="boss@shop.example")'
ASK = """
import logging
logging.disable()
from people.models import Person
from django.core import mail
from django_workflow import approve, define, trigger
from django_workflow.models import Run, StepRun

call_command("migrate", run_syncdb=True, verbosity=0)
boss = Person.objects.create(name="boss")
from django.contrib.auth.models import Group
Group.objects.create(name="bosses")
asking = {{"name": "ok", "type": "flow.approval", "with": {asking}}}
define("ask", steps=[asking])
run = trigger("ask")
row = StepRun.objects.get()
print(run.status, row.logs, [letter.to for letter in getattr(mail, "outbox", [])], row.error)
"""
ANSWER = 'print(list(StepRun.objects.approvable_by(boss)) == [row], approve(run, "ok", by=boss).status)'


def ask(folder: Path, asking: dict[str, Any], *, fields: str = "", methods: str = "", code: str = "") -> str:
    """Return what a project with a user model of its own prints of an approval."""
    project = Project(
        folder,
        INSTALLED_APPS=[*CONTRIB, "people", "django_workflow"],
        AUTH_USER_MODEL="people.Person",
        SILENCED_SYSTEM_CHECKS=["django_workflow.W001"],
    )
    project.write("people/__init__.py", "")
    project.write("people/models.py", MODELS.format(fields=fields, methods=methods))
    return project.run(ASK.format(asking=asking) + code)


@pytest.mark.one_database
def test_a_user_model_without_permissions_is_asked_by_what_it_says_itself(tmp_path: Path) -> None:
    can = "def has_perm(self, permission, row=None): return True"
    by_permission = {"permission": "people.add_person", "notify": True}
    printed = ask(tmp_path, by_permission, fields=EMAIL, methods=can, code=ANSWER)
    assert printed.startswith("waiting ")
    assert "who has 'people.add_person'" in printed
    assert printed.endswith("True done\n")


@pytest.mark.one_database
def test_a_user_model_without_an_email_field_is_not_searched_by_one(tmp_path: Path) -> None:
    printed = ask(tmp_path, {"users": "boss", "notify": ["all@shop.example"]}, code=ANSWER)
    assert printed == "waiting None [['all@shop.example']] \nTrue done\n"


@pytest.mark.one_database
def test_a_user_model_without_groups_is_not_searched_for_them(tmp_path: Path) -> None:
    printed = ask(tmp_path, {"group": "bosses", "notify": True}, fields=EMAIL)
    assert printed.startswith("waiting ")
    assert "who is in the group 'bosses'" in printed


@pytest.mark.one_database
def test_permissions_without_a_column_is_active_are_found(tmp_path: Path) -> None:
    fields = f"{EMAIL}\n    is_superuser = models.BooleanField(default=True)"
    for name, model in (("groups", "Group"), ("user_permissions", "Permission")):
        fields += f'\n    {name} = models.ManyToManyField("auth.{model}", related_query_name="user")'
    can = "def has_perm(self, permission, row=None): return True"
    by_permission = {"permission": "people.add_person", "notify": True}
    printed = ask(tmp_path, by_permission, fields=fields, methods=can, code=ANSWER)
    assert printed == "waiting None [['boss@shop.example']] \nTrue done\n"


@pytest.mark.one_database
def test_a_command_says_who_may_not_where_users_have_no_permissions(tmp_path: Path) -> None:
    code = """
try:
    call_command("workflow_runs", "cancel", str(run.pk), "--yes", "--by", "boss")
except Exception as error:
    print(error)
"""
    printed = ask(tmp_path, {"users": "boss"}, code=code)
    assert printed.endswith("boss may not do this: the permission django_workflow.control_run is missing.\n")


class Rich(BaseBackend):
    """Grants by a rule, and can find nobody."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return bool(user_obj.username == "clerk")


class Broken(Rich):
    def with_perm(self, perm: str, **options: Any) -> Any:
        raise NotImplementedError("ask the directory")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backend", [Rich, Broken])
def test_a_backend_that_cannot_say_who_has_a_permission_keeps_nobody_from_answering(
    settings: Any, boss: User, clerk: User, backend: type
) -> None:
    both = (backend, ModelBackend)
    settings.AUTHENTICATION_BACKENDS = [f"{each.__module__}.{each.__name__}" for each in both]
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "BASE_URL": "https://shop.example"}
    asking = {"name": "ok", "type": "flow.approval", "with": {"permission": PERMISSION, "notify": True}}
    run: Run = trigger(define("ask", steps=[asking]))
    assert run.status == "waiting"
    assert [letter.to for letter in mail.outbox] == [["boss@shop.example"]]
    assert f"{backend.__name__} could not say who has '{PERMISSION}'" in str(row_of(run).logs)
    assert approve(run, "ok", by=clerk).status == "done"
