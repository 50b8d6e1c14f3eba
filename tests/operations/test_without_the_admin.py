"""A project without ``django.contrib.admin``: an API, or the settings of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project

pytestmark = pytest.mark.one_database

ASK_AND_ANSWER = """
import re
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django_workflow import define, trigger
from django_workflow.models import Run

call_command("migrate", verbosity=0)
User.objects.create_superuser("boss", "boss@shop.example")
asking = {"permission": "auth.change_user", "notify": True}
define("ask", steps=[{"name": "ok", "type": "flow.approval", "with": asking}])
run = trigger("ask")
(letter,) = mail.outbox
path = re.search(r"https://shop.example(\\S+)", letter.body)[1]
client = Client(headers={"host": "localhost"})
assert b"boss" in client.get(path).content
client.post(path, {"verdict": "approve"})
assert Run.objects.get().status == "done", Run.objects.get().error
call_command("show_run", str(run.pk))
"""
OPEN_WITHOUT_USER = """
import re
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django_workflow import define, trigger

call_command("migrate", verbosity=0)
asking = {"users": User.objects.create(username="boss").pk, "notify": "all@shop.example"}
define("ask", steps=[{"name": "ok", "type": "flow.approval", "with": asking}])
trigger("ask")
path = re.search(r"https://shop.example(\\S+)", mail.outbox[0].body)[1]
answer = Client(headers={"host": "localhost"}).get(path)
print(answer.status_code, answer.headers["Location"].partition("?")[0])
"""


def test_a_project_without_the_admin_checks_migrates_and_renders_templates(tmp_path: Path) -> None:
    project = Project(tmp_path)
    code = """
from django.template import engines
call_command("check", deploy=False, fail_level="WARNING")
call_command("migrate", verbosity=0)
call_command("makemigrations", "django_workflow", check_changes=True, dry_run=True, verbosity=0)
print(engines["django"].from_string("Hello {{ name }}").render({"name": "you"}))
"""
    assert "Hello you" in project.run(code)


def test_an_approval_is_mailed_and_answered_without_the_admin(tmp_path: Path) -> None:
    assert "done" in Project(tmp_path, ALLOWED_HOSTS=["*"]).run(ASK_AND_ANSWER)


def test_a_link_to_log_in_leads_there_without_the_middleware_of_users(tmp_path: Path) -> None:
    project = Project(tmp_path, ALLOWED_HOSTS=["*"], LOGIN_URL="/log-in/")
    assert project.run(OPEN_WITHOUT_USER) == "302 /log-in/\n"


def test_the_test_kit_works_without_the_admin(tmp_path: Path) -> None:
    code = """
from django_workflow import define
from django_workflow.test import workflow_test

call_command("migrate", verbosity=0)
define("nap", steps=[{"type": "flow.sleep", "with": {"for": "2d"}}])
with workflow_test() as test:
    run = test.trigger("nap")
    test.advance(days=2)
    print(test.path(run))
"""
    assert Project(tmp_path).run(code) == "['flow_sleep']\n"
