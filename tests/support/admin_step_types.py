"""Step types of the admin's tests, and how a browser would send the form of a workflow."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Model
from django.test import Client

from django_workflow import step
from django_workflow.admin.revisions import is_staffs, revision_of
from django_workflow.models import Workflow

MENDED: set[str] = set()


@step("admintest.echo", idempotent=True)
def echo(value: Any = None) -> Any:
    """Return what it is given."""
    return value


@step("admintest.note", permission="testapp.add_note", idempotent=True)
def note(text: str = "") -> str:
    """Stand for a step that not everybody may add."""
    return text


@step("admintest.fail", idempotent=True)
def fail(message: str = "no luck") -> Any:
    """Fail until mended."""
    if not MENDED:
        raise ValueError(message)
    return "mended"


@step("admintest.number", idempotent=True)
def number(count: int) -> int:
    """Want a number."""
    return count


def change_url(row: Model, page: str = "change", site: str = "/admin") -> str:
    """Return the address of a row's page."""
    return f"{site}/django_workflow/{row._meta.model_name}/{row.pk}/{page}/"


def form_data(workflow: Workflow | None, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return what the form of a workflow would post, with ``steps`` behind the stored ones, or over them by
    ``at`` (its number from 0)."""
    stored = [] if workflow is None else list(workflow.steps.all())
    rows = [
        {
            "id": row.pk,
            "position": number,
            "name": row.name,
            "type": row.type,
            "condition": row.condition,
            "params": json.dumps(row.params, indent=2) if row.params else "",
        }
        for number, row in enumerate(stored, start=1)
    ]
    for given in steps:
        at = given.pop("at", None)
        rows.append(given) if at is None else rows[at].update(given)
    own = {}
    if workflow is not None:
        stored_now = Workflow.objects.get(pk=workflow.pk)
        revision = revision_of(stored_now, is_draft=is_staffs(stored_now))
        own = {"name": workflow.name, "description": workflow.description, "revision": revision}
    data = {"name": "shop", "enabled": "on", **own, **fields}
    data |= {"steps-TOTAL_FORMS": len(rows), "steps-INITIAL_FORMS": len(stored)}
    for number, row in enumerate(rows):
        data |= {f"steps-{number}-{key}": value for key, value in {"join": "all", **row}.items()}
    return data


def errors_of(client: Client, url: str, data: dict[str, Any]) -> dict[str, list[str]]:
    """Post ``data`` and return the errors of the page that came back, by field."""
    response = client.post(url, data)
    assert response.status_code == 200, response.headers.get("Location")
    context = response.context
    found = dict(context["adminform"].form.errors)
    [inline] = context["inline_admin_formsets"]
    for form in inline.formset.forms:
        found |= {form.add_prefix(field): list(texts) for field, texts in form.errors.items()}
    if inline.formset.non_form_errors():
        found["steps"] = list(inline.formset.non_form_errors())
    return found
