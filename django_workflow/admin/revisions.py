"""Two people at one workflow: who saves second is told what the first has saved, and keeps what they typed.

The page carries what stands for the workflow as it was drawn, and saving compares that with what is stored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import F
from django.forms.formsets import DELETION_FIELD_NAME, INITIAL_FORM_COUNT, TOTAL_FORM_COUNT
from django.forms.models import model_to_dict
from django.http import HttpRequest, QueryDict
from django.template.defaultfilters import truncatechars, yesno
from django.utils.translation import gettext as _

from ..models import ManagedBy, Step, Workflow
from .problems import WORKFLOW_FIELDS

# The name of the hidden input.
REVISION = "revision"
# How a revision begins: the page offers the whole draft, or nothing but the switch.
_DRAFT, _SWITCH = "draft:", "switch:"
_LONGEST_TEXT, _LONGEST_NUMBER = 1000, 9

Draw = Callable[[Step], dict[str, str]]


def is_staffs(workflow: Workflow) -> bool:
    """Say whether staff own the workflow, and so may write its draft."""
    return workflow.managed_by == ManagedBy.STAFF


def hold(object_id: str) -> None:
    """Keep others from saving the workflow until the transaction is over: what is read from now on stays."""
    try:
        key = Workflow._meta.pk.to_python(unquote(object_id))
    except ValidationError:
        return
    rows = Workflow.objects.using(router.db_for_write(Workflow)).filter(pk=key)
    rows.update(updated_at=F("updated_at"))


def is_draft_offered(request: HttpRequest, workflow: Workflow) -> bool:
    """Say whether the page has inputs for the whole draft; a draft sent from such a page
    comes back on one, even if the workflow has another owner now."""
    drawn = request.POST.get(REVISION, "")
    return drawn.startswith(_DRAFT) or (is_staffs(workflow) and not drawn.startswith(_SWITCH))


def revision_of(workflow: Workflow, *, is_draft: bool = True) -> str:
    """Return what stands for the stored workflow, or for its switch alone: no two states have the same."""
    steps = workflow.steps.all() if is_draft else ()
    fields = (*WORKFLOW_FIELDS, "enabled") if is_draft else ("enabled",)
    content = [model_to_dict(workflow, fields), [[step.pk, step.as_definition()] for step in steps]]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{_DRAFT if is_draft else _SWITCH}{digest}"


def is_stale(request: HttpRequest, workflow: Workflow | None) -> bool:
    """Say whether what was sent was typed over another state than the one that is stored."""
    if request.method != "POST" or workflow is None or workflow.pk is None:
        return False
    is_draft = is_draft_offered(request, workflow)
    is_same = request.POST.get(REVISION) == revision_of(workflow, is_draft=is_draft)
    return not is_same or is_taken(workflow, is_draft=is_draft)


def is_taken(workflow: Workflow, *, is_draft: bool) -> bool:
    """Say whether the draft that the page offers is no longer staff's."""
    return is_draft and not is_staffs(workflow)


def say_why() -> str:
    """Return what is said of a workflow that was saved since its page was opened."""
    return _(
        "This workflow was saved by somebody else, or in another window, since you opened this page, so "
        "nothing was saved now. What you typed is still here; where it differs, the page says what is "
        "stored. Save again to replace that."
    )


def say_who() -> str:
    """Return what is said of a workflow that staff no longer own."""
    return _(
        "A file or code has taken this workflow over since you opened this page, so nothing was saved. What "
        "you typed is still here. To save it, press “Edit here” in another window, then save again."
    )


def tell_what_is_stored(form: forms.BaseModelForm[Any]) -> None:
    """Say at each field that differs from what is stored what that is."""
    columns = {field.name for field in form.instance._meta.concrete_fields if not field.primary_key}
    for name in [name for name in form.changed_data if name in columns]:
        value = form.fields[name].prepare_value(form[name].initial)
        text = str(yesno(value) if isinstance(value, bool) else "" if value is None else value)
        form.add_error(name, _("Stored now: %s") % (truncatechars(text, _LONGEST_TEXT) or _("nothing")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebased:
    """Steps as they were typed, over those that are stored; ``added`` and ``removed`` say what others did."""

    data: QueryDict
    added: list[str]
    removed: list[str]


def rebase(data: QueryDict, prefix: str, stored: Iterable[Step], draw: Draw) -> Rebased:
    """Return the data of a formset with a form for each stored step, then one for each other that was typed.

    A step that was removed becomes a new one, in its old place; one that was added is drawn by ``draw``.
    """
    typed = _read_forms(data, prefix)
    steps = {str(step.pk): step for step in stored}
    numbers = {form["id"]: number for number, form in typed.items() if form.get("id")}
    # A definition that was replaced as a whole has new rows, and a form that is sent twice adds none twice.
    named = {form.get("name"): number for number, form in typed.items() if form.get("id") not in steps}
    found = {key: numbers.get(key, named.get(step.name)) for key, step in steps.items()}
    places = {number: place for place, number in enumerate(found.values(), start=1) if number is not None}
    for form in typed.values():
        form["position"] = _moved(form.get("position", ""), places)
    rows, added = [], []
    for place, (key, number) in enumerate(found.items(), start=1):
        form = typed.get(number or 0) or draw(steps[key])
        position = form["position"] if form.get("id") else str(place)
        rows.append({**form, "id": key, "position": position})
        if number is None:
            added.append(steps[key].name)
    others = [form for number, form in typed.items() if number not in places]
    others = [form for form in others if not (form.get("id") and form.get(DELETION_FIELD_NAME))]
    removed = [form.get("name", "") for form in others if form.pop("id", "")]
    forms = _write_forms(data, prefix, [*rows, *others], stored=len(rows))
    return Rebased(data=forms, added=added, removed=removed)


def _read_forms(data: QueryDict, prefix: str) -> dict[int, dict[str, str]]:
    """Return what was typed in each form, by its number from 1."""
    typed: dict[int, dict[str, str]] = {}
    for key, value in data.items():
        match = re.fullmatch(rf"{re.escape(prefix)}-(\d{{1,6}})-(\w+)", key)
        if match:
            typed.setdefault(int(match[1]) + 1, {})[match[2]] = str(value)
    return dict(sorted(typed.items()))


def _write_forms(
    data: QueryDict, prefix: str, rows: Sequence[Mapping[str, str]], *, stored: int
) -> QueryDict:
    written = QueryDict(mutable=True)
    for key in data:
        if not key.startswith(f"{prefix}-"):
            written.setlist(key, data.getlist(key))
    written[f"{prefix}-{TOTAL_FORM_COUNT}"] = str(len(rows))
    written[f"{prefix}-{INITIAL_FORM_COUNT}"] = str(stored)
    for number, row in enumerate(rows):
        for name, value in row.items():
            written[f"{prefix}-{number}-{name}"] = value
    return written


def _moved(position: str, places: Mapping[int, int]) -> str:
    """Return the number of a step as it is now; for one that is gone, that of the step before it."""
    if not position.isdecimal() or len(position) > _LONGEST_NUMBER:
        return position
    before = [number for number in places if number <= int(position)]
    return str(places[max(before)] if before else 0)
