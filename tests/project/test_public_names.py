"""The public names and their signatures, which other people's code holds: exactly those of the design."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import django_workflow
from django_workflow import exceptions

pytestmark = pytest.mark.one_database
ROOT = Path(__file__).parent.parent.parent

ERRORS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.WorkflowError)
}
OTHERS = {"Condition", "End", "Goto", "Retry", "Secret", "Sleep", "StepContext", "StepName", "WaitForEvent"}
SIGNATURES = {
    "step": "type, *, retry=None, timeout=None, queue=None, atomic=False, idempotent=False, "
    "rerun_after_crash=True, form=None, label='', help_text='', aliases=(), permission=''",
    "define": "name, *, steps, description='', input=None, queue=None, timeout=None, on_failure=None, "
    "max_visits=None, using=None",
    "trigger": "workflow, input=None, *, key=None, subject=None, user=None, using=None",
    "trigger_many": "workflow, inputs, *, keys=None, user=None, using=None",
    "dry_run": "workflow, input=None, *, outputs=None, like=None, using=None",
    # A run's id or key alone does not say which database it lives on, hence `using`.
    "cancel_run": "run, *, by=None, note='', using=None",
    "approve": "run, step, *, by, data=None, note='', using=None",
    "reject": "run, step, *, by, data=None, note='', using=None",
    "retry_run": "run, *, by=None, note='', using=None",
    "pause_run": "run, *, by=None, note='', using=None",
    "resume_run": "run, *, by=None, note='', using=None",
    "restart_run": "run, *, from_step=None, input=None, newest=False, by=None, note='', using=None",
    "skip_step": "run, step, output=None, *, by=None, note='', using=None",
    "send_event": "run, name, payload=None, *, id=None, using=None",
    "undo_run": "run, *, by=None, note='', using=None",
}


def test_the_public_names_are_these() -> None:
    assert set(django_workflow.__all__) == ERRORS | OTHERS | set(SIGNATURES)
    assert all(hasattr(django_workflow, name) for name in django_workflow.__all__)


@pytest.mark.parametrize(("name", "parameters"), SIGNATURES.items())
def test_a_public_function_takes_these(name: str, parameters: str) -> None:
    signature = inspect.signature(getattr(django_workflow, name))
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == f"({parameters})"


def test_light_names_are_safe_to_import_without_settings() -> None:
    code = "from django_workflow import PermanentError, Retry, StepContext, WorkflowNotFound, step"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={}, check=True)


def test_define_while_apps_are_loading_names_the_right_places(tmp_path: Path) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "__init__.py").touch()
    (early / "steps.py").write_text(
        "from django_workflow import define\ndefine('early', steps=[{'type': 'flow.end'}])\n"
    )
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import django\n"
        "from django.conf import settings\n"
        "apps = ['django.contrib.contenttypes', 'django.contrib.auth', 'django_workflow', 'early']\n"
        "settings.configure(INSTALLED_APPS=apps, USE_TZ=True)\n"
        "django.setup()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert "'early'" in done.stderr
    assert "apps are still loading" in last
    assert "post_migrate receiver" in last
