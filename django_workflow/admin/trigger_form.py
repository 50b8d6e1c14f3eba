"""The form that starts a run: a key, and fields from what the published version declares as its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..engine.programs import get_program
from ..exceptions import NotStorable, ParamsError, WorkflowNotFound
from ..models import Workflow
from ..models.run import why_no_subject
from ..params import declared_params
from .pages import without_nul
from .picking import adapt_fields

# Before the names of the declared fields, which may be called anything.
BEFORE = "data."
ALL = f"{BEFORE}input"

T = TypeVar("T")


class TriggerForm(forms.Form):
    """The key; the declared fields are added by :func:`make_form`."""

    required_css_class = "required"
    key = forms.CharField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=255,
        help_text=gettext_lazy("One run per key: a second one with the same key returns the first."),
    )
    is_declared = True

    @property
    def values(self) -> Mapping[str, Any]:
        """What was sent, as far as it fits; before anything was sent, what the form begins with."""
        if not self.is_bound:
            return dict(self._begun())
        self.is_valid()  # It cleans what was sent, once.
        return self.cleaned_data

    @property
    def input(self) -> dict[str, Any]:
        """What is filled in, by declared name; what is left empty has its default."""
        values = self.values
        if not self.is_declared:
            return values.get(ALL) or {}
        return {
            name.removeprefix(BEFORE): value
            for name, value in values.items()
            if name.startswith(BEFORE) and value not in self.fields[name].empty_values
        }

    @property
    def run_key(self) -> str:
        """The key; an empty text for none."""
        return str(self.values.get("key", ""))

    @property
    def subject(self) -> Model | None:
        """The only row among the input, if there is just one, and runs can be about it."""
        rows = [value for value in self.input.values() if isinstance(value, Model)]
        return rows[0] if len(rows) == 1 and not why_no_subject(rows[0]) else None

    def clean(self) -> dict[str, Any]:
        """Refuse free input that is no object."""
        cleaned = super().clean() or self.cleaned_data
        free = cleaned.get(ALL)
        if not self.is_declared and free is not None and not isinstance(free, dict):
            self.add_error(ALL, _("A JSON object is needed: {…}."))
        return cleaned

    def start(self, start: Callable[[], T]) -> T | None:
        """Return what ``start`` returns; None where what is filled in does not do, which is then shown."""
        try:
            return start()
        except ParamsError as error:
            self._add_problems(error.problems)
        except (NotStorable, WorkflowNotFound) as error:
            self.add_error(None, str(error))
        except ValueError as error:
            self.add_error("key" if "key" in self.fields else None, str(error))
        return None

    def _add_problems(self, problems: Mapping[str, list[str]]) -> None:
        for name, texts in problems.items():
            field = f"{BEFORE}{name}" if f"{BEFORE}{name}" in self.fields else None
            for text in texts:
                self.add_error(field, text if field else f"{name}: {text}")

    def _begun(self) -> Iterator[tuple[str, Any]]:
        for name, field in self.fields.items():
            try:
                value = field.clean(self.get_initial_for_field(field, name))
            except ValidationError:
                continue
            yield name, value


def make_form(
    workflow: Workflow, page: admin.ModelAdmin[Any], request: HttpRequest, *, without: str = ""
) -> TriggerForm:
    """Return the form for what the workflow declares, but for the field ``without``.

    It begins with what the address gives, like the admin's own forms. Raises ``ParamsError`` where what is
    declared does not exist any more, such as a model.
    """
    form = TriggerForm(request.POST if request.method == "POST" else None)
    declared = _declared_input(workflow)
    form.is_declared = declared is not None
    if declared is None:
        box = forms.JSONField(label=_("Input"), required=False, help_text=_("A JSON object."))
        fields: dict[str, forms.Field] = {ALL: box}
    else:
        own = declared_params(declared).fields()
        fields = {f"{BEFORE}{name}": field for name, field in own.items() if name != without}
    form.fields = {**adapt_fields(fields, page.admin_site, request), **form.fields}
    given = without_nul(request.GET)
    form.initial = {
        name: _read(field, str(given[name])) for name, field in form.fields.items() if name in given
    }
    return form


def _declared_input(workflow: Workflow) -> Mapping[str, Any] | None:
    """Return what the published version declares; None where any JSON object may start a run."""
    if workflow.published_id is None:
        return None
    return get_program(workflow.published_id, workflow._state.db or "default").spec.input


def _read(field: forms.Field, text: str) -> Any:
    """Return ``text`` of an address as the field shows it."""
    if isinstance(field, forms.JSONField):
        return InvalidJSONInput(text)
    if not isinstance(field, (forms.BooleanField, forms.DateTimeField)):
        return text
    try:
        return field.to_python(text)
    except ValidationError:
        return text
