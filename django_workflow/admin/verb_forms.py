"""What single verbs are told beside a note: which step, which output, which event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.utils.html import escape
from django.utils.translation import gettext_lazy as _

from ..engine.programs import get_program
from ..insight.facts import RunFacts
from ..insight.possible import steps_to_restart_from, steps_to_skip
from ..models import Run
from ..params import declared_params
from ..params.hidden import hide
from ..params.reading import NamedRow
from ..status import WaitingFor
from .confirming import NoteForm
from .json_fields import ReadableJSONField

JSON_BOX = AdminTextareaWidget(attrs={"rows": 5, "spellcheck": "false"})
NAME = 255


class VerbForm(NoteForm):
    """A form that may know the run it is for; a bulk action's knows none."""

    def fill(self, facts: RunFacts, *, sees_payload: bool) -> None:
        """Offer what the run has to offer."""

    def rows(self, facts: RunFacts) -> Iterable[tuple[str, NamedRow]]:
        """Return the rows that are named by what was filled in, by the names of their values."""
        return ()


class RestartForm(VerbForm):
    """From which step, with which input, on which version."""

    from_step = forms.ChoiceField(label=_("From the step"), required=False)
    newest = forms.BooleanField(label=_("On the newest version"), required=False)
    input = ReadableJSONField(
        label=_("Input"), required=False, widget=JSON_BOX, help_text=_("Nothing: the same as before.")
    )
    field_order = ("from_step", "newest", "input", "note")

    def fill(self, facts: RunFacts, *, sees_payload: bool) -> None:
        """Offer the steps; without a choice it begins at the start."""
        steps = [("", _("the beginning")), *((name, name) for name in steps_to_restart_from(facts))]
        self.fields["from_step"].choices = steps  # type: ignore[attr-defined]
        # A run that never began has no version of its own.
        self.fields["newest"].initial = facts.program is None
        if sees_payload:
            declared = facts.program.spec.input if facts.program else None
            self.fields["input"].initial = input_to_edit(facts.run, declared or {})

    def clean_input(self) -> Any:
        """Return the input; None where it is the same as before. Raises ``ValidationError`` for no object."""
        given = self.cleaned_data["input"]
        if given is not None and not isinstance(given, dict):
            raise forms.ValidationError(_("A JSON object is needed: {…}."))
        return None if _text(given) == _text(self.fields["input"].initial) else given

    def rows(self, facts: RunFacts) -> Iterable[tuple[str, NamedRow]]:
        """Return the rows that the input names, but for those that the run has in their place already."""
        given, run = self.cleaned_data["input"] or {}, facts.run
        version = run.workflow.published_id if self.cleaned_data["newest"] else run.version_id
        declared = None if version is None else get_program(version, facts.using).spec.input
        if declared is None:
            return ()
        own = {name: _plain(value, declared.get(name)) for name, value in run.input.items()}
        other = {name: value for name, value in given.items() if name not in own or own[name] != value}
        return declared_params(declared).rows(other)


class BulkRestartForm(VerbForm):
    """On which version; each run has its own input and steps."""

    newest = forms.BooleanField(label=_("On the newest version"), required=False)
    field_order = ("newest", "note")


class SkipForm(VerbForm):
    """Which step, and its output."""

    step = forms.ChoiceField(label=_("Step"))
    output = ReadableJSONField(
        label=_("Output"),
        required=False,
        widget=JSON_BOX,
        help_text=_("JSON, as the step would have returned it; nothing: null."),
    )
    field_order = ("step", "output", "note")

    def fill(self, facts: RunFacts, *, sees_payload: bool) -> None:
        """Offer the steps that wait or have failed."""
        names = [(row.step, f"{row.step} ({row.get_status_display()})") for row in steps_to_skip(facts)]
        self.fields["step"].choices = names  # type: ignore[attr-defined]


class BulkSkipForm(SkipForm):
    """The step of many runs is named."""

    step = forms.CharField(label=_("Step"), max_length=70)  # type: ignore[assignment]


class EventForm(VerbForm):
    """An event: its name, what it carries, and the sender's id for it."""

    name = forms.CharField(label=_("Name"), max_length=NAME)
    payload = ReadableJSONField(label=_("Payload"), required=False, widget=JSON_BOX, help_text=_("JSON."))
    id = forms.CharField(
        label=_("Id"),
        required=False,
        max_length=NAME,
        help_text=_("The same id counts once for each run."),
    )
    field_order = ("name", "payload", "id", "note")

    def fill(self, facts: RunFacts, *, sees_payload: bool) -> None:
        """Suggest the name that is waited for."""
        waiting = [row.awaits or {} for row in facts.live if row.waiting_for == WaitingFor.EVENT]
        names = list(dict.fromkeys(name for awaits in waiting for name in awaits.get("events", ())))
        if names:
            self.fields["name"].initial = names[0]
            # Django shows a help text as HTML.
            self.fields["name"].help_text = _("The run waits for: %s.") % escape(", ".join(names))


def input_to_edit(run: Run, declared: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a run's input as a person may edit it: rows that are ``declared`` by their key.

    None where something of it is hidden, or would not be read back as it was.
    """
    plain = {key: _plain(value, declared.get(key)) for key, value in run.input.items()}
    return plain if hide(plain) == plain and not _has_marks(plain) else None


def _plain(value: Any, declared: Any) -> Any:
    kind = declared.get("type") if isinstance(declared, Mapping) else declared
    is_row = isinstance(value, dict) and value.keys() == {"$model", "pk"}
    return value["pk"] if is_row and str(kind).lower() == value["$model"] else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _has_marks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key.startswith("$") or _has_marks(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_marks(item) for item in value)
