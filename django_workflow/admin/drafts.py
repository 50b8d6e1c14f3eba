"""The forms of a draft: what is saved may be unfinished; what is published comes back with every problem."""

from __future__ import annotations

from collections.abc import Iterator
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
from .allowed import is_allowed
from .guarded import Feeding, permission_of
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


# What of a step decides which values it gives to others.
FEEDING = frozenset({"name", "type", "params", "condition", "for_each"})
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
        """Refuse a new name if the workflow was published after the page was opened."""
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
    def is_rewritten(self) -> bool:
        """Whether it gives other values than before, or under another name."""
        return self.is_new or not FEEDING.isdisjoint(self.changed_data)

    def as_it_was(self) -> Step:
        """Return the stored step, before anything was typed."""
        return Step(**{name: self.initial[name] for name in FEEDING})

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
        self._refuse_guarded(kept)
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

    def _refuse_guarded(self, kept: list[StepForm]) -> None:
        """Refuse to change, delete or feed a step whose type asks for a permission that the user lacks."""
        changed = [form for form in kept if form.has_changed()]
        forms: list[StepForm] = self.forms  # type: ignore[assignment]
        deleted = [form for form in forms if not form.is_new and not form.is_kept]
        for form in changed:
            for type in dict.fromkeys((form.instance.type, form.initial.get("type", ""))):
                if permission := self._lacking(type):
                    text = _("To add or change a step of type %(type)s needs the permission %(permission)s.")
                    form.add_error("type", text % {"type": type, "permission": permission})
        problems = []
        for type in dict.fromkeys(form.initial["type"] for form in deleted):
            if permission := self._lacking(type):
                text = _("To delete a step of type %(type)s needs the permission %(permission)s.")
                problems.append(text % {"type": type, "permission": permission})
        problems += self._refuse_feeding(kept, [form for form in changed if form.is_rewritten], deleted)
        if problems:
            raise ValidationError(problems)

    def _refuse_feeding(
        self, kept: list[StepForm], rewritten: list[StepForm], deleted: list[StepForm]
    ) -> Iterator[str]:
        """Refuse what changes the values that a step is given; yield what belongs to no form."""
        before = [form.as_it_was() for form in (*rewritten, *deleted) if not form.is_new]
        feeding = Feeding([*before, *(form.instance for form in kept)])
        inputs = self._changed_inputs()
        for form in kept:
            step, permission = form.instance, self._lacking(form.instance.type)
            if not permission or form in rewritten or not (rewritten or deleted or inputs):
                continue
            sources = feeding.sources_of(step)
            text = _("The step %(step)s depends on this: to change it needs the permission %(permission)s.")
            values = {"step": step.name, "permission": permission}
            for each in rewritten:
                if sources.steps & {each.instance.name, each.initial.get("name")}:
                    each.add_error(None, text % values)
            others = {form.initial["name"] for form in deleted} & sources.steps | inputs & sources.keys
            yield from (f"{name}: {text % values}" for name in sorted(others))

    def _changed_inputs(self) -> set[str]:
        """Return the names whose declaration in the workflow's input is to change."""
        stored = Workflow.objects.using(self.instance._state.db).filter(pk=self.instance.pk)
        old, new = stored.values_list("input", flat=True).first() or {}, self.instance.input or {}
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return set()
        return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}

    def _lacking(self, type: str) -> str:
        """Return the permission that steps of ``type`` ask for, where the user lacks it."""
        permission = permission_of(type)
        return permission if permission and not is_allowed(self.request, permission, self.instance) else ""

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
