"""The forms of a draft: what is saved may be unfinished; what is published comes back with every problem."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import CharField, F, Value
from django.db.models.functions import Cast, Concat
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.models import model_to_dict
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import Step, Workflow, WorkflowVersion
from ..registry import get_handler
from .allowed import is_allowed
from .named_rows import refuse_unseen, rows_of_declaration, rows_of_step
from .problems import WORKFLOW_FIELDS, add_problem, complete_names, draft_problems, workflow_problems
from .revisions import Rebased, rebase, say_who, say_why, tell_what_is_stored

if TYPE_CHECKING:
    WorkflowModelForm = forms.ModelForm[Workflow]
    StepModelForm = forms.ModelForm[Step]
    InlineFormSet = forms.BaseInlineFormSet[Step, Workflow, forms.ModelForm[Step]]
else:
    WorkflowModelForm = forms.ModelForm
    StepModelForm = forms.ModelForm
    InlineFormSet = forms.BaseInlineFormSet


# The name of the button that publishes.
PUBLISH = "_publish"


class WorkflowForm(WorkflowModelForm):
    """A workflow's own fields. ``published`` is the version that saving made, if any.

    ``revision`` stands for what is stored; the form ``is_stale`` where it was drawn from another state, and
    ``is_taken`` where staff own the draft no longer.
    """

    request: HttpRequest
    site: AdminSite
    revision = ""
    is_stale = False
    is_taken = False
    is_publishing = False
    published: WorkflowVersion | None = None

    class Meta:
        help_texts: ClassVar[dict[str, Any]] = {
            "name": gettext_lazy(
                "Fixed once the workflow is published, for code and other workflows start it by this name. "
                "“Duplicate” makes a workflow with another name."
            )
        }

    def clean(self) -> dict[str, Any]:
        """Return the values; add to each field what is wrong with it, most of it only when publishing."""
        cleaned = super().clean() or self.cleaned_data
        self._refuse_another_name()
        if "input" in self.changed_data:
            for text in refuse_unseen(rows_of_declaration(cleaned.get("input")), self.site, self.request):
                self.add_error("input", text)
        if self.is_publishing:
            told = set(self.errors)
            values = model_to_dict(self.instance, WORKFLOW_FIELDS) | cleaned
            for problem in workflow_problems(values):
                add_problem(self, problem, told)
        if self.is_taken:
            self.add_error(None, say_who())
        elif self.is_stale and self.changed_data:
            self.add_error(None, say_why())
        if self.is_stale:
            tell_what_is_stored(self)
        return cleaned

    def _refuse_another_name(self) -> None:
        """Refuse a name that was typed before somebody else published the workflow."""
        typed = self.data.get("name", self.instance.name)
        if "name" not in self.fields and typed != self.instance.name:
            text = _(
                "This workflow is published as “%(name)s” and cannot be renamed to “%(typed)s”: duplicate it "
                "under the new name."
            )
            self.add_error(None, text % {"name": self.instance.name, "typed": typed})


class StepForm(StepModelForm):
    """One step. Its number says behind which other one it goes; without one it goes to the end."""

    def place(self) -> tuple[float, bool]:
        """Return what steps are sorted by: the number, and who moved there behind who had it."""
        position = self.cleaned_data.get("position")
        return inf if position is None else position, self.is_new or "position" in self.changed_data

    def validate_constraints(self) -> None:
        """Leave it to the formset: the stored rows may be about to give their names away."""

    @property
    def is_new(self) -> bool:
        """Whether the step is not stored yet."""
        return self.instance._state.adding

    @property
    def is_kept(self) -> bool:
        """Whether the draft is to have the step: no blank row, and not marked for deletion."""
        is_deleted = self.cleaned_data.get(DELETION_FIELD_NAME, False)
        return not is_deleted and (not self.is_new or self.has_changed())


class StepFormSet(InlineFormSet):
    """The steps of a draft, in their order."""

    request: HttpRequest
    site: AdminSite
    is_stale = False
    is_publishing = False
    is_writable = True
    _rebased: Rebased | None = None

    def __init__(self, data: QueryDict | None = None, *args: Any, **options: Any) -> None:
        if data is not None and self.is_stale and self.is_writable:
            steps = Step.objects.using(options["instance"]._state.db).filter(workflow=options["instance"])
            self._rebased = rebase(data, options["prefix"], steps, self._draw)
            data = self._rebased.data
        super().__init__(data, *args, **options)

    def add_fields(self, form: StepForm, index: int | None) -> None:  # type: ignore[override]
        """Number the stored steps from 1, so that 0 is before the first; leave new ones blank."""
        super().add_fields(form, index)
        is_stored = index is not None and index < self.initial_form_count()
        form.initial["position"] = index + 1 if index is not None and is_stored else None

    def clean(self) -> None:
        """Put the steps in order, name them, and add to each what is wrong with it."""
        if not self.is_writable:
            return
        kept = self.kept_forms()
        complete_names([form.instance for form in kept])
        for number, form in enumerate(kept, start=1):
            form.instance.position = number
        self._refuse_double_names(kept)
        self._refuse_types(kept)
        self._refuse_rows(kept)
        if self._rebased is not None and any(form.has_changed() for form in self.forms):
            self._tell_changes(self._rebased)
        elif self.is_publishing:
            self._show_problems(kept)

    def kept_forms(self) -> list[StepForm]:
        """Return the forms of the steps that the draft is to have, in order."""
        forms: list[StepForm] = self.forms  # type: ignore[assignment]
        return sorted((form for form in forms if form.is_kept), key=StepForm.place)

    def save(self, commit: bool = True) -> list[Step]:
        """Save the draft's steps: those typed anew, and the places of all."""
        if not self.is_writable:
            return super().save(commit)
        kept = self.kept_forms()
        if commit:
            self._free_names()
        saved = super().save(commit)
        if commit:
            Step.objects.using(self.instance._state.db).bulk_update(
                [form.instance for form in kept], ["name", "position"], batch_size=100
            )
        return saved

    def _free_names(self) -> None:
        # Two steps may swap their names, which no order of single updates could do past the constraint.
        steps = Step.objects.using(self.instance._state.db).filter(pk__in=self._shown_keys())
        steps.update(name=Concat(Value("~"), Cast(F("pk"), CharField())))

    def _shown_keys(self) -> list[int]:
        return [form.instance.pk for form in self.initial_forms if form.instance.pk is not None]

    def _draw(self, step: Step) -> dict[str, str]:
        form = self.form(instance=step)
        values = {field.name: field.value() for field in form}
        return {name: "" if value is None else str(value) for name, value in values.items()}

    def _tell_changes(self, rebased: Rebased) -> None:
        for form in self.initial_forms:
            tell_what_is_stored(form)
        texts = {
            _("Added meanwhile: %s."): rebased.added,
            _("Removed meanwhile, and added again when you save: %s."): rebased.removed,
        }
        told = [text % ", ".join(names) for text, names in texts.items() if names]
        raise ValidationError([say_why(), *told])

    def _refuse_double_names(self, kept: list[StepForm]) -> None:
        names = self._names_added_meanwhile()
        for form in kept:
            if form.instance.name in names:
                form.add_error("name", _("Another step has this name; names are unique in a workflow."))
            names.add(form.instance.name)

    def _names_added_meanwhile(self) -> set[str]:
        """Return the names of the steps that somebody else has saved since this form was shown."""
        if self.instance.pk is None:
            return set()
        steps = Step.objects.using(self.instance._state.db).filter(workflow=self.instance)
        return set(steps.exclude(pk__in=self._shown_keys()).values_list("name", flat=True))

    def _refuse_types(self, kept: list[StepForm]) -> None:
        for form in kept:
            if form.has_changed():
                for type in {form.instance.type, form.initial.get("type", "")}:
                    handler = get_handler(type)
                    if handler is not None and handler.permission:
                        self._refuse_type(form, type, handler.permission)

    def _refuse_type(self, form: StepForm, type: str, permission: str) -> None:
        if not is_allowed(self.request, permission, self.instance):
            text = _("To add or change a step of type %(type)s needs the permission %(permission)s.")
            form.add_error("type", text % {"type": type, "permission": permission})

    def _refuse_rows(self, kept: list[StepForm]) -> None:
        using = router.db_for_write(Workflow)
        for form in kept:
            if form.has_changed():
                named = rows_of_step(form.instance, using)
                for text in refuse_unseen(named, self.site, self.request):
                    form.add_error("params", text)

    def _show_problems(self, kept: list[StepForm]) -> None:
        forms = {form.instance.name: form for form in kept}
        told = {name: set(form.errors) for name, form in forms.items()}
        values = model_to_dict(self.instance, WORKFLOW_FIELDS)
        others = []
        for problem in draft_problems(values, [form.instance for form in kept]):
            if problem.step in forms:
                add_problem(forms[problem.step], problem, told[problem.step])
            else:
                others.append(str(problem))
        if others:
            raise ValidationError(others)
