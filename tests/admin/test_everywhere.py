"""What holds for every page: on which site, under which prefix, in which language, and whatever is down."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.test.utils import override_script_prefix
from django.urls import path

from django_workflow import admin as pages
from django_workflow import models, trigger
from tests.support.every_page import APP, PAGES

from .conftest import Login

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.urls(__name__),
    pytest.mark.one_database,
]

second_site = AdminSite("second")
for model, page in (
    (models.Workflow, pages.WorkflowAdmin),
    (models.WorkflowVersion, pages.VersionAdmin),
    (models.Run, pages.RunAdmin),
    (models.StepRun, pages.StepRunAdmin),
    (models.BulkAction, pages.BulkActionAdmin),
    (models.Failure, pages.FailureAdmin),
    (models.Approval, pages.ApprovalAdmin),
    (models.Health, pages.HealthAdmin),
    (models.StepType, pages.StepTypeAdmin),
):
    second_site.register(model, page)
# A site for one page only: what would lead elsewhere is left out.
sparse_site = AdminSite("sparse")
sparse_site.register(models.Run, pages.RunAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("second/", second_site.urls),
    path("sparse/", sparse_site.urls),
]
every_page = pytest.mark.parametrize("name", PAGES)


@pytest.fixture
def no_redis(settings: Any) -> None:
    settings.RQ_QUEUES = {"default": {"UNIX_SOCKET_PATH": "/nowhere/redis.sock", "DB": 0}}


@every_page
def test_a_page_answers_on_a_second_site_and_stays_there(admin_client: Client, name: str) -> None:
    response = admin_client.get(f"/second/{APP}/{PAGES[name]()}")
    assert response.status_code == 200
    assert not re.search(r"""["'(]/admin/""", response.text)


@pytest.mark.parametrize("name", [name for name in PAGES if PAGES[name].__name__ == "<lambda>"])
def test_a_page_of_runs_answers_where_nothing_else_is(admin_client: Client, name: str) -> None:
    address = PAGES[name]()
    if address.startswith("run/"):
        assert admin_client.get(f"/sparse/{APP}/{address}").status_code == 200


@every_page
def test_a_page_keeps_the_prefix_that_the_project_is_mounted_under(admin_client: Client, name: str) -> None:
    address = PAGES[name]()
    with override_script_prefix("/mounted/"):
        text = admin_client.get(f"/admin/{APP}/{address}", SCRIPT_NAME="/mounted").text
    assert not re.search(r"""(href|action|data-url)=["']/admin/""", text)


@every_page
def test_a_page_brings_no_script_or_style_inside(admin_client: Client, name: str) -> None:
    text = admin_client.get(f"/admin/{APP}/{PAGES[name]()}").text
    for forbidden in ("<style", " style=", "<script>", "javascript:", "data:image"):
        assert forbidden not in text
    assert not re.search(r"\son[a-z]+=", text)


@every_page
@override_settings(USE_THOUSAND_SEPARATOR=True)
def test_a_page_speaks_german(admin_client: Client, name: str) -> None:
    models.Workflow.objects.bulk_create([models.Workflow(pk=1234, name="other")])
    response = admin_client.get(f"/admin/{APP}/{PAGES[name]()}", headers={"Accept-Language": "de"})
    assert response.status_code == 200
    if name != "live":
        assert '<html lang="de"' in response.text


@every_page
@override_settings(DJANGO_WORKFLOW={"QUEUE": "default"})
def test_a_page_answers_with_a_banner_while_redis_is_down(
    admin_client: Client, name: str, no_redis: None, django_capture_on_commit_callbacks: Any
) -> None:
    with override_settings(DJANGO_WORKFLOW={"QUEUE": None}):
        address = PAGES[name]()
    with django_capture_on_commit_callbacks(execute=True):
        trigger(models.Workflow.objects.filter(published__isnull=False)[0])
    response = admin_client.get(f"/admin/{APP}/{address}")
    assert response.status_code == 200
    if name not in ("live", "history"):
        assert "Redis does not answer" in response.text


@every_page
def test_a_page_is_for_who_has_a_permission(login: Login, client: Client, name: str) -> None:
    address = f"/admin/{APP}/{PAGES[name]()}"
    anonymous = client.get(address)
    assert anonymous.status_code == (403 if name == "live" else 302)
    staff = login()
    # Everybody of the staff may look whether somebody asks them.
    assert staff.get(address).status_code == (200 if name == "approvals" else 403)
    staff.force_login(User.objects.create_user("customer"))
    assert staff.get(address).status_code == (403 if name == "live" else 302)


@every_page
def test_nothing_is_changed_by_looking(admin_client: Client, name: str) -> None:
    address = PAGES[name]()
    before = list(models.Run.objects.order_by("pk").values())
    admin_client.get(f"/admin/{APP}/{address}")
    assert list(models.Run.objects.order_by("pk").values()) == before
    assert not models.RunAction.objects.exists()
