"""``python -m tests.support.unfold_pages``: every page on a site of django-unfold's, with its templates.

A process of its own, because a project that uses Unfold has it before Django's admin among its apps.
"""

from __future__ import annotations

import sys

import django
from django.conf import settings

from tests import settings as own


def main() -> None:
    """Open the pages, and write a line for each."""
    names = [name for name in dir(own) if name.isupper()]
    values = {name: getattr(own, name) for name in names}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    values |= {"INSTALLED_APPS": ["unfold", *own.INSTALLED_APPS], "DATABASES": {"default": database}}
    values |= {"ROOT_URLCONF": "tests.support.unfold_urls"}
    settings.configure(**values)
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0, run_syncdb=True)
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    for url, says in _pages():
        response = client.get(url)
        assert response.status_code == 200, (url, response.status_code)
        assert says in response.text, (url, says)
        assert "unfold" in response.text
        sys.stdout.write(f"{url} ok\n")


def _pages() -> list[tuple[str, str]]:
    from django_workflow import define, trigger
    from django_workflow.models import StepRun
    from tests.support import admin_step_types as step_types  # noqa: F401 – registers them
    from tests.testapp.models import Order

    order = Order.objects.create(number="A 17")
    define("shop", steps=[{"name": "broken", "type": "admintest.fail"}], input={"order": "testapp.Order"})
    run = trigger("shop", {"order": order}, subject=order)
    site = "/admin/django_workflow"
    row, workflow = StepRun.objects.get(), run.workflow
    return [
        ("/admin/", "Failures"),
        ("/admin/testapp/order/", "Run a workflow…"),
        (f"/admin/testapp/order/{order.pk}/change/", f"/run/{run.pk}/change/"),
        (f"{site}/workflow/", "shop"),
        (f"{site}/workflow/{workflow.pk}/change/", "broken"),
        (f"{site}/workflow/{workflow.pk}/trigger/", "shop"),
        (f"{site}/run/", "shop"),
        (f"{site}/run/?state=unresolved", "shop"),
        (f"{site}/run/bulk/?state=failed", "Retry"),
        (f"{site}/run/bulk/retry/?state=failed", "Retry: 1 run"),
        (f"{site}/run/{run.pk}/change/", f"/run/{run.pk}/retry/"),
        (f"{site}/run/{run.pk}/retry/", "goes on from its failed steps"),
        (f"{site}/steprun/{row.pk}/change/", "no luck"),
        (f"{site}/workflowversion/{workflow.published_id}/change/", "admintest.fail"),
        (f"{site}/failure/", "ValueError"),
        (f"{site}/approval/", "content"),
        (f"{site}/health/", "Clocks"),
        (f"{site}/steptype/", "flow.approval"),
        (f"{site}/bulkaction/", "content"),
    ]


if __name__ == "__main__":
    main()
